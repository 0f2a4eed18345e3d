"""Training crops of a prepared TFDS data set, addressed by number."""

from __future__ import annotations

import io
import os
import pathlib
import re
from typing import Any

import numpy as np

from deblur_tf.base.errors import DataError
from deblur_tf.base.registry import configurable, resumable
from deblur_tf.data.augment import random_pair_crop
from deblur_tf.data.cache import ImageCache
from deblur_tf.data.order import CropOrder
from deblur_tf.data.pair_source import PairSource
from deblur_tf.data.parts import Part, by_scene, word
from deblur_tf.image_files.reading import read_rgb

_VERSION = re.compile(r"\d+\.\d+\.\d+")


def default_data_dir() -> pathlib.Path:
    """$TFDS_DATA_DIR, or TFDS's own default."""
    return pathlib.Path(
        os.environ.get("TFDS_DATA_DIR") or pathlib.Path.home() / "tensorflow_datasets"
    )


def prepared_sets(data_dir: str | os.PathLike[str]) -> list[str]:
    """Names of the data sets that are prepared below a folder, e.g. ["gopro/blur"]."""
    root = pathlib.Path(data_dir)
    found = {p.parent.parent.relative_to(root) for p in root.glob("*/*/*/dataset_info.json")}
    return sorted(str(p) for p in found)


def open_prepared(dataset: str, data_dir: str | os.PathLike[str] | None = None) -> Any:
    """The read-only TFDS builder of a prepared data set, by "name/config".

    Raises:
      DataError: if the data set is not prepared, naming those that are; or if its
        file format cannot be read by number.
    """
    if not dataset:
        raise DataError('which data set? For example DATASET = "gopro/blur"')
    root = pathlib.Path(data_dir or default_data_dir()).expanduser()
    folder = root / dataset
    versions = [p for p in folder.glob("*") if _VERSION.fullmatch(p.name)]
    if not versions:
        known = prepared_sets(root)
        name = dataset.split("/")[0]
        if others := [other for other in known if other.split("/")[0] == name]:
            raise DataError(
                f"{name} is prepared in {root}, but not as {dataset!r}: there is "
                f"{', '.join(others)}. Prepare it with --config={dataset.partition('/')[2]}, or "
                f"name the one that is there (--dataset={others[0]}; in gin files DATASET)"
            )
        raise DataError(
            f"no prepared data set {dataset!r} in {root} (there: {', '.join(known) or 'none'}); "
            f"make it with: deblur-data prepare {name} --config={dataset.partition('/')[2]} "
            f"--data_dir={root} --manual_dir=..."
        )
    tfds = _tfds()
    newest = max(versions, key=lambda p: tuple(map(int, p.name.split("."))))
    builder = tfds.builder_from_directory(newest)
    if not builder.info.file_format.value.startswith("array_record"):
        raise DataError(
            f"{newest} is stored as {builder.info.file_format.value}, which cannot be read by "
            "number; remove it and prepare it with deblur-data"
        )
    return builder


def _tfds() -> Any:
    """Imports TFDS, which is not needed for training on photos alone."""
    try:
        import tensorflow_datasets
    except ModuleNotFoundError as error:
        package = error.name or "tensorflow_datasets"
        raise DataError(
            f"the package {package} is not installed; pip install {package.replace('_', '-')}"
        ) from error
    return tensorflow_datasets


class TfdsImages:
    """The pairs of a split by number, as decoded images.

    Args:
      dataset: "name/config" of a prepared data set, e.g. "gopro/blur".
      data_dir: where it was prepared; None: TFDS's default.
      split: e.g. "train".

    Raises:
      DataError: if there is no such data set or split.
    """

    def __init__(
        self,
        dataset: str,
        data_dir: str | os.PathLike[str] | None = None,
        split: str = "train",
    ):
        builder = open_prepared(dataset, data_dir)
        tfds = _tfds()
        if split not in builder.info.splits:
            raise DataError(
                f"{dataset} has no split {split!r}; it has {', '.join(builder.info.splits)}"
            )
        self.name = f"{dataset} {split}"
        self.info = builder.info
        raw = tfds.decode.SkipDecoding()
        self._records = builder.as_data_source(split, decoders={"blurry": raw, "sharp": raw})

    def __len__(self) -> int:
        return len(self._records)

    def id(self, index: int) -> str:
        """The `id` of an example."""
        return self._records[index]["id"].decode()

    def scene(self, index: int) -> str:
        """The scene of an example: its `id` up to the last "-"."""
        return self.id(index).rpartition("-")[0]

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """blurry and sharp, uint8 [H, W, 3].

        Raises:
          DataError: naming the example, if an image is damaged.
        """
        record = self._records[int(index)]
        name = f"{self.name}, example {record['id'].decode()}"
        blurry, sharp = (
            read_rgb(io.BytesIO(record[side]), f"{name}, {side} image")
            for side in ("blurry", "sharp")
        )
        if blurry.shape != sharp.shape:
            raise DataError(f"{name}: blurry {blurry.shape} and sharp {sharp.shape} differ in size")
        return blurry, sharp


@configurable
@resumable("data_dir", "cache_bytes")
class TfdsPairs(PairSource):
    """Random crops of a prepared data set, flipped and rotated (DvSR sec. 5.2).

    Crop number `index` is a pure function of (seed, index); see `CropOrder`.

    Args:
      dataset, data_dir, split: see `TfdsImages`.
      part: which images, see `parts.by_scene`.
      crop_size: side of a crop in pixels; 128 in the papers.
      crops_per_image: crops per image in an epoch.
      shuffle_images: images among whose crops the order is shuffled.
      cache_bytes: limit of the memory for decoded images, which may hold a whole data
        set. If it holds fewer than two times `shuffle_images` images, images are
        decoded more than once per epoch.
      seed: seed of order, crops, flips and rotations.
    """

    reads = "data set"

    def __init__(
        self,
        dataset: str,
        data_dir: str | os.PathLike[str] | None = None,
        split: str = "train",
        part: Part = "all",
        crop_size: int = 128,
        crops_per_image: int = 8,
        shuffle_images: int = 64,
        cache_bytes: int = 2 << 30,
        seed: int = 0,
    ):
        self.images = TfdsImages(dataset, data_dir, split)
        self.crop_size = crop_size
        self.seed = seed
        self.part: Part = part
        self.numbers = by_scene(len(self.images), self.images.scene, part)
        self.order = CropOrder(len(self.numbers), crops_per_image, shuffle_images, seed)
        self._cache = ImageCache(self.images.__getitem__, cache_bytes)

    def describe(self) -> str:
        """A phrase for the first line that a run prints."""
        subset = " (a subset)" if (self.images.info.metadata or {}).get("subset") else ""
        part = word(self.part, len(self.images))
        return f"{len(self.numbers)} pairs of {self.images.name}{subset}{part}"

    def __call__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Crop `index`: blurry and sharp, uint8 [crop, crop, 3] each."""
        number = self.numbers[self.order(index)]
        rng = np.random.default_rng((self.seed, int(index)))
        blurry, sharp = self._cache[number]
        return random_pair_crop(blurry, sharp, self.crop_size, rng)
