"""What the builders share: features, counts, layouts and progress."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import inspect
import os
import pathlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow_datasets.public_api as tfds
from etils import epath

from deblur_tf.base.errors import DataError
from deblur_tf.base.progress import bar
from deblur_tf.data.folders import PairFiles

SUBSET = "subset"
Splits = dict[str, list[PairFiles]]


@dataclasses.dataclass(eq=False, kw_only=True)
class PairConfig(tfds.core.BuilderConfig):
    """Which images to prepare, and whether all of them are required.

    Attributes:
      blurry: which kind of blurry images; its values depend on the data set.
      subset: accept an incomplete copy. The name of the configuration says so too,
        so that a subset is never mistaken for the whole data set.
      splits: the splits to prepare; () for all.
    """

    blurry: str = ""
    subset: bool = False
    splits: Sequence[str] = ()


def configs(*variants: tuple[Any, ...]) -> list[PairConfig]:
    """For each (name, description, splits), the complete configuration and its subset."""
    return [
        PairConfig(
            name=f"{name}_{SUBSET}" if subset else name,
            description=description + (" Any part of the data set is accepted." * subset),
            blurry=name,
            subset=subset,
            splits=tuple(*splits),
        )
        for subset in (False, True)
        for name, description, *splits in variants
    ]


class PairBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A data set of blurry/sharp pairs.

    Features: `blurry` and `sharp`, uint8 [H, W, 3]; `id`, a text unique in its
    split. Examples are stored in order of their id, never shuffled.

    Subclasses define `COUNTS` and `find`, and may define `EXTRA` and `extra`.

    Attributes:
      COUNTS: number of examples in each split of the complete data set.
      SCENES: number of examples in each scene of a split, if known.
      HOMEPAGE: web page of the data set.
      EXTRA: further features.
      can_use_beam: whether examples are made of pairs of files, which workers can read.
      on_beam: whether workers of Apache Beam write the examples, see `prepare.prepare`.
    """

    can_use_beam = True
    on_beam = False
    VERSION = tfds.core.Version("1.0.0")
    COUNTS: Mapping[str, int] = {}
    SCENES: Mapping[str, Mapping[str, int]] = {}
    HOMEPAGE = ""
    EXTRA: Mapping[str, tfds.features.FeatureConnector] = {}

    def __init_subclass__(cls, **kwargs: Any):
        # TFDS guesses both from the module's name, which is wrong where the
        # package is installed in place.
        cls.code_path = epath.Path(inspect.getfile(cls))
        cls.pkg_dir_path = cls.code_path.parent
        super().__init_subclass__(**kwargs)

    def find(self, dl_manager: tfds.download.DownloadManager) -> Splits:
        """The pairs of each split; a split that is not found is left out."""
        raise NotImplementedError

    def extra(self, pair: PairFiles) -> dict[str, Any]:
        """Values of the `EXTRA` features of a pair."""
        del pair
        return {}

    def scene(self, pair: PairFiles) -> str:
        """The scene of a pair; missing pairs of incomplete copies are reported by scene."""
        return pair.id.rsplit("-", 1)[0]

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "blurry": tfds.features.Image(shape=(None, None, 3)),
                    "sharp": tfds.features.Image(shape=(None, None, 3)),
                    "id": tfds.features.Text(),
                    **self.EXTRA,
                }
            ),
            supervised_keys=("blurry", "sharp"),
            homepage=self.HOMEPAGE or None,
            metadata=tfds.core.MetadataDict(subset=self.builder_config.subset),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        splits, wanted = self.find(dl_manager), self.builder_config.splits
        if wanted:
            splits = {name: pairs for name, pairs in splits.items() if name in wanted}
        self.check_counts(splits, str(_manual_dir(dl_manager) or ""))
        return {name: self._generate_examples(name, pairs) for name, pairs in splits.items()}

    def check_counts(self, splits: Splits, source: str) -> None:
        """Refuses an incomplete copy, unless the configuration allows it.

        Raises:
          DataError: naming each incomplete split with its number of pairs, in total
            and by scene.
        """
        name = self.name
        if not any(splits.values()):
            instructions = self.MANUAL_DOWNLOAD_INSTRUCTIONS or ""
            raise DataError(f"{source}: no images of {name} found there. {instructions}")
        if self.builder_config.subset:
            return
        problems = []
        for split, want in self.COUNTS.items():
            if self.builder_config.splits and split not in self.builder_config.splits:
                continue
            pairs = splits.get(split, [])
            if len(pairs) != want:
                found = Counter(map(self.scene, pairs))
                known = self.SCENES.get(split, {})
                scenes = ", ".join(
                    f"{scene} {found[scene]}" + (f" of {known[scene]}" if scene in known else "")
                    for scene in sorted({*found, *known})
                )
                problems.append(f"{split} has {len(pairs)} pairs of {want} ({scenes or 'none'})")
        if problems:
            raise DataError(
                f"{source}: this copy of {name} is not complete: {'; '.join(problems)}. Get the "
                f"missing files, or use the configuration {name}/{self.builder_config.name}_"
                f"{SUBSET} (deblur-data prepare {name} --subset) for a part of the data set."
            )

    def _generate_examples(self, split: str, pairs: Sequence[PairFiles]) -> Any:
        """Numbered examples; with `on_beam` a transform whose workers check and read them."""
        if self.on_beam:
            import apache_beam as beam

            numbered = [(i, pair, self._example(pair)) for i, pair in enumerate(pairs)]
            return beam.Create(numbered, reshuffle=True) | beam.Map(_checked_example)
        shown = progress(checked(pairs), len(pairs), f"{self.name} {split}")
        return ((i, self._example(pair)) for i, pair in enumerate(shown))

    def _example(self, pair: PairFiles) -> dict[str, Any]:
        files = {"blurry": str(pair.blurry), "sharp": str(pair.sharp)}
        return {**files, "id": pair.id, **self.extra(pair)}


def _checked_example(
    numbered: tuple[int, PairFiles, dict[str, Any]],
) -> tuple[int, dict[str, Any]]:
    """An example whose images were decoded without error, in the worker that will read them."""
    number, pair, example = numbered
    pair.check()
    return number, example


def checked(pairs: Iterable[PairFiles]) -> Iterator[PairFiles]:
    """Yields each pair after threads have decoded both of its images without error."""
    workers = os.cpu_count() or 1
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        waiting: list[tuple[PairFiles, concurrent.futures.Future[None]]] = []
        try:
            for pair in pairs:
                waiting.append((pair, pool.submit(pair.check)))
                if len(waiting) > 2 * workers:
                    first, check = waiting.pop(0)
                    check.result()
                    yield first
            for first, check in waiting:
                check.result()
                yield first
        finally:
            for _, check in waiting:
                check.cancel()


def progress(items: Iterable[Any], total: int, label: str) -> Iterator[Any]:
    """Yields the items; shows a progress bar on a terminal, otherwise one line at the end."""
    yield from bar(items, desc=label, total=total, unit="pair")
    if not sys.stderr.isatty():
        print(f"{label}: {total} pairs", file=sys.stderr, flush=True)


def _manual_dir(dl_manager: tfds.download.DownloadManager) -> pathlib.Path | None:
    try:
        return pathlib.Path(dl_manager.manual_dir)
    except AssertionError:  # there is none, or it is empty
        return None


def roots(
    dl_manager: tfds.download.DownloadManager, archives: Sequence[str] = ()
) -> list[pathlib.Path]:
    """Folders that may be the root of a data set; those already extracted come first.

    Args:
      dl_manager: gives `manual_dir` and extracts archives.
      archives: names of archives to extract if `manual_dir` contains them.

    Raises:
      AssertionError: by TFDS, with instructions, if there is no `manual_dir`.
    """
    manual = pathlib.Path(dl_manager.manual_dir)
    found = [manual, *_folders(manual)]
    for name in archives:
        if (manual / name).is_file():
            extracted = pathlib.Path(dl_manager.extract(manual / name))
            found += [extracted, *_folders(extracted)]
    return found


def _folders(path: pathlib.Path) -> list[pathlib.Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))


def first_with(candidates: Sequence[pathlib.Path], relative: str) -> pathlib.Path | None:
    """The path `relative` in the first of the folders that contains it; None: none does."""
    return next((root / relative for root in candidates if (root / relative).exists()), None)


def listed(
    listing: pathlib.Path, candidates: Sequence[pathlib.Path], sharp_part: str, blurry_part: str
) -> list[PairFiles]:
    """The pairs of a list file; each line names the sharp file, then the blurry one.

    Args:
      listing: the list file.
      candidates: folders that may contain the folder with which all names begin; without it,
        names are relative to the list file.
      sharp_part, blurry_part: what the name of a sharp and of a blurry file contains.

    Raises:
      DataError: if a line is not of that form, naming file and line.
    """
    root, pairs = None, []
    lines = listing.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        names = line.split()
        if not names:
            continue
        if len(names) != 2 or sharp_part not in names[0] or blurry_part not in names[1]:
            raise DataError(
                f"{listing}, line {number}: not '...{sharp_part}... ...{blurry_part}...': {line!r}"
            )
        if root is None:
            top = pathlib.PurePosixPath(names[0]).parts[0]
            found = first_with(candidates, top)
            root = listing.parent if found is None else found.parent
        sharp, blurry = (root / name for name in names)
        # The scene, and what tells the pairs of a scene apart: a folder or the file's name.
        *scene, _, name = pathlib.PurePosixPath(names[1]).parts
        stem = pathlib.PurePosixPath(name).stem
        words = scene[1:] if len(scene) > 2 else [*scene[1:], stem]
        pairs.append(PairFiles("-".join(words), blurry, sharp))
    return pairs


def existing(splits: Splits, config: PairConfig, archive: str) -> Splits:
    """The pairs whose files exist; a part of the pairs is enough for a subset only.

    Raises:
      DataError: if files are missing and the configuration requires all; `archive` has them.
    """
    there = {
        split: [p for p in pairs if p.blurry.is_file() and p.sharp.is_file()]
        for split, pairs in splits.items()
    }
    missing = [p.id for s, pairs in splits.items() for p in pairs if p not in there[s]]
    if missing and not config.subset:
        raise DataError(
            f"{len(missing)} pairs named in the list files are missing: "
            f"{', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}; extract {archive} "
            f"beside the list files, or use the configuration {config.name}_{SUBSET}"
        )
    return there
