"""Merges the reports of several processes that each measured a part of one test set."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import pathlib
import shutil
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from deblur_tf.base.errors import LockedError, UsageError
from deblur_tf.base.files import read_json
from deblur_tf.base.locks import locked
from deblur_tf.evaluation.features import FeatureStore
from deblur_tf.evaluation.pairs import Pair
from deblur_tf.evaluation.report import (
    FEATURES,
    PICTURES,
    REPORT_FILE,
    ROWS,
    SETTINGS_FILE,
    Report,
    read_figures,
)
from deblur_tf.evaluation.runner import Outcome, summarise
from deblur_tf.evaluation.stages import SHARP
from deblur_tf.evaluation.subjects import Images
from deblur_tf.metrics.base import Metric


@dataclasses.dataclass(frozen=True)
class _Measured:
    """What a report needs of a `Subject` that was measured."""

    labels: Mapping[str, str]
    columns: Mapping[str, str]
    made: str
    has_truth: bool = True
    fixed_kinds: tuple[str, ...] = ()
    batch_size: int = 1

    def images(
        self, pairs: Sequence[Pair], without: Collection[str] = ()
    ) -> list[tuple[Images, float]]:
        raise NotImplementedError("the shards have measured all pictures")


def _read(folder: str | os.PathLike[str], name: str) -> dict[str, Any]:
    path = pathlib.Path(folder) / name
    if not path.is_file():
        raise UsageError(f"{folder}: not a finished evaluation (no {name})")
    try:
        return read_json(path)
    except ValueError as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error


def metric_names(folder: str | os.PathLike[str]) -> tuple[str, ...]:
    """Names of the metrics of a finished evaluation."""
    return tuple(_read(folder, REPORT_FILE)["metrics"])


def shard_folders(folder: pathlib.Path, count: int) -> list[pathlib.Path]:
    """The folders of the shards of an evaluation, within its own folder."""
    return [folder / f"shard{i}of{count}" for i in range(1, count + 1)]


def is_measured(folder: pathlib.Path, settings: Mapping[str, Any]) -> bool:
    """Whether a folder has the report of a whole evaluation with these settings."""
    finished = (folder / REPORT_FILE).is_file()
    return finished and _read(folder, SETTINGS_FILE) == json.loads(json.dumps(dict(settings)))


def merge_if_finished(
    folder: pathlib.Path, settings: Mapping[str, Any], metrics: Sequence[Metric], count: int
) -> Outcome | None:
    """Merges the shards in an evaluation's folder once all of them are finished.

    Each process calls it when its own shard is done, so the last one merges.

    Args:
      folder: of the whole evaluation.
      settings: of the whole evaluation; shards with others do not count.
      metrics: the metrics that are measured.
      count: number of the shards.

    Returns:
      None if a shard is not finished, or another process is merging.
    """
    text = json.loads(json.dumps(dict(settings)))
    shards = shard_folders(folder, count)
    for i, shard in enumerate(shards, 1):
        if not (shard / REPORT_FILE).is_file():
            return None
        if _read(shard, SETTINGS_FILE) != text | {"shard": [i, count]}:
            return None
    try:
        with locked(folder):
            return merge(shards, folder, metrics)
    except LockedError:
        return None


def merge(
    folders: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    metrics: Sequence[Metric],
) -> Outcome:
    """One report from the finished reports of all shards of a test set.

    Args:
      folders: of the shards, in any order.
      output: folder for the report; features and pictures are copied there.
      metrics: the metrics that the shards measured.

    Raises:
      UsageError: if a shard is missing, given twice, or measured with other settings.
    """
    settings = {folder: _read(folder, SETTINGS_FILE) for folder in folders}
    if pathlib.Path(output).resolve() in {pathlib.Path(f).resolve() for f in folders}:
        raise UsageError(f"{output}: is one of the shards; choose another output folder")
    shards: dict[int, str | os.PathLike[str]] = {}
    first = settings[folders[0]]
    for folder, own in settings.items():
        if "shard" not in own:
            raise UsageError(f"{folder}: is not a shard")
        differing = [k for k in (*own, *first) if k != "shard" and own.get(k) != first.get(k)]
        if own["shard"][1] != first.get("shard", own["shard"])[1]:
            differing.append("number of shards")
        if differing:
            raise UsageError(
                f"{folder}: measured with other settings ({differing[0]}) than {folders[0]}"
            )
        index, count = own["shard"]
        if index in shards:
            raise UsageError(f"{folder}: the same shard as {shards[index]}")
        shards[index] = folder
    missing = [i for i in range(1, count + 1) if i not in shards]
    if missing:
        raise UsageError(f"shards of {count} are missing: {', '.join(map(str, missing))}")
    wanted = first["metrics"]
    here = {m.name: json.loads(json.dumps(dict(m.about))) for m in metrics}
    for name in (*wanted, *here):
        if here.get(name) != wanted.get(name):
            raise UsageError(
                f"{name}: the shards were measured with {wanted.get(name, 'nothing')}, here is "
                f"{here.get(name, 'nothing')}"
            )
    last = _read(shards[1], REPORT_FILE)
    subject = _Measured(last["labels"], last["columns"], last["made"], SHARP in last["kinds"])
    kinds = last["kinds"]
    parts, failed = [], []
    for index in sorted(shards):
        folder = pathlib.Path(shards[index])
        failed += _read(folder, REPORT_FILE)["failed"]
        found = {n: f for n, f in read_figures(folder).items() if set(f) == set(kinds)}
        if len(found) != _read(folder, REPORT_FILE)["pictures"]:
            raise UsageError(f"{folder}: is not finished; run its command again")
        parts.append(list(found.items()))
    # Shard i of n has pictures i, i + n, ...: this restores their order.
    in_order = [item for row in itertools.zip_longest(*parts) for item in row if item]
    found = dict(in_order)
    notes = {k: v for k, v in last.items() if k != "settings"}
    settings_of_all = {k: v for k, v in first.items() if k != "shard"}
    whole = Report(output, settings_of_all, metrics, notes=notes)
    whole.found = found
    whole.start(kinds)
    for folder, name in itertools.product(shards.values(), (FEATURES, PICTURES, ROWS)):
        if (pathlib.Path(folder) / name).is_dir():
            shutil.copytree(pathlib.Path(folder) / name, whole.folder / name, dirs_exist_ok=True)
    title = last["title"]
    store = FeatureStore(whole.folder / FEATURES)
    return summarise(subject, found, metrics, store, title, failed, whole)
