"""Prepares a data set without the `tfds build` command and its dependencies."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import os
import pathlib
import re
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds

from deblur_tf.base.errors import DataError, UsageError
from deblur_tf.base.locks import locked
from deblur_tf.data.tfds_pairs import default_data_dir

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
SOURCE_FILE = "source.txt"  # in a prepared data set: the folder that its images came from

NAMES = ("gopro", "hide", "realblur_j", "rsblur", "reds", "div2k_blur", "folder")


def builder(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    config: str | None = None,
    subset: bool = False,
) -> tfds.core.DatasetBuilder:
    """The builder of a data set, not yet prepared.

    Args:
      name: one of `NAMES`.
      data_dir: where to prepare it; None: TFDS's default.
      config: its configuration; None: the first. For `folder`, any new name.
      subset: accept an incomplete copy.

    Raises:
      DataError: if there is no such data set or configuration, naming those
        that exist.
    """
    if name not in NAMES:
        raise DataError(f"no data set {name!r}; there are {', '.join(NAMES)}")
    module = importlib.import_module(f"deblur_tf.datasets.{name}.{name}_dataset_builder")
    cls = module.Builder
    configs = {c.name: c for c in cls.BUILDER_CONFIGS}
    chosen = config or next(iter(configs))
    if not _NAME.fullmatch(chosen):
        raise DataError(f"--config={chosen}: give a name of letters, digits, _ and -")
    if name == "folder" and chosen not in configs:
        made = dataclasses.replace(cls.BUILDER_CONFIGS[0], name=chosen)
        return cls(data_dir=data_dir, config=made)
    if subset and not chosen.endswith("_subset"):
        chosen += "_subset"
    if chosen not in configs:
        raise DataError(f"{name} has no configuration {chosen!r}; it has {', '.join(configs)}")
    return cls(data_dir=data_dir, config=chosen)


def prepare(
    name: str,
    manual_dir: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    config: str | None = None,
    subset: bool = False,
    beam_runner: str | None = None,
    beam_options: Sequence[str] = (),
) -> tfds.core.DatasetBuilder:
    """Prepares a data set for reading by number, unless it is already prepared.

    An interrupted preparation leaves no data set behind, and the next one
    starts from the beginning.

    Args:
      name, config, subset: see `builder`.
      manual_dir: folder with archives or folders that were downloaded by hand.
      data_dir: where to write; None: TFDS's default.
      beam_runner: runner of Apache Beam whose workers check the images and write the examples, such
        as DirectRunner; they must be able to read `manual_dir` and write to `data_dir`.
      beam_options: options of the runner, as on its command line.

    Raises:
      DataError: if there is no such data set, or the copy is not complete or
        cannot be read.
    """
    root = pathlib.Path(data_dir or default_data_dir()).expanduser()
    made = builder(name, root, config, subset)
    target = pathlib.Path(made.data_dir)
    source = "" if manual_dir is None else str(pathlib.Path(manual_dir).resolve())
    if target.exists() and name == "folder" and source:
        _refuse_other_source(target, source)
    if not target.exists():
        settings: dict[str, Any] = {}
        if beam_runner:
            from apache_beam.options.pipeline_options import PipelineOptions

            if not made.can_use_beam:
                raise UsageError(f"--beam_runner: {name} is prepared in one process")
            made.on_beam = True
            arguments = ["--default_sdk_harness_log_level=ERROR", *beam_options]
            settings = {"beam_runner": beam_runner, "beam_options": PipelineOptions(arguments)}
        _prepare(made, root, source, settings)
    return tfds.builder_from_directory(target)


def _prepare(
    made: tfds.core.DatasetBuilder, root: pathlib.Path, source: str, further: Mapping[str, Any]
) -> None:
    """Prepares a data set below `root` from the folder `source`; leaves nothing if that fails."""
    own, target = root / made.name, pathlib.Path(made.data_dir)
    candidates = (*reversed(root.parents), root, own, root / "downloads")
    made_here = [folder for folder in candidates if not folder.exists()]
    if source and not pathlib.Path(source).is_dir():
        raise DataError(f"{source}: no such folder")
    own.mkdir(parents=True, exist_ok=True)
    with locked(own):
        for leftover in target.parent.glob(f"*incomplete*{target.name}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        tfds.disable_progress_bar()  # the builders show a progress bar of their own
        settings = tfds.download.DownloadConfig(
            manual_dir=pathlib.Path(source) if source else None, **further
        )
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # "Downloading ... Unknown size"
                made.download_and_prepare(download_config=settings, file_format="array_record")
            if source:
                (target / SOURCE_FILE).write_text(source + "\n", encoding="utf-8")
        except AssertionError as error:
            if "anual directory" not in str(error):
                raise
            raise DataError(
                f"--manual_dir is missing or empty. {made.MANUAL_DOWNLOAD_INSTRUCTIONS}"
            ) from error
        finally:
            if not target.exists():
                for folder in made_here:
                    shutil.rmtree(folder, ignore_errors=True)


def _refuse_other_source(target: pathlib.Path, source: str) -> None:
    path = target / SOURCE_FILE
    before = path.read_text(encoding="utf-8").strip() if path.exists() else source
    if before != source:
        raise DataError(
            f"{target} was prepared from {before}, not from {source}; choose another --config, or "
            f"remove {target}"
        )
