"""Sources of the pairs of an evaluation; each pair is read only when it is indexed."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np

from deblur_tf.base.errors import DataError, UsageError
from deblur_tf.data import synthesis
from deblur_tf.data.folders import find_pairs
from deblur_tf.data.photos import PhotoSet, open_photos
from deblur_tf.data.tfds_pairs import TfdsImages


@dataclasses.dataclass(frozen=True)
class Pair:
    """A sharp image with its blurry and restored versions, uint8 [H, W, 3] each.

    The blurry or the restored one is None if there is none.
    """

    name: str
    blurry: np.ndarray | None
    sharp: np.ndarray
    restored: np.ndarray | None = None

    @property
    def input(self) -> np.ndarray:
        """The blurry image.

        Raises:
          DataError: if there is none.
        """
        if self.blurry is None:
            raise DataError(f"{self.name}: has no blurry picture, which is needed here")
        return self.blurry


class PairSet(Protocol):
    """Pairs by index.

    Attributes:
      title: describes the pairs in a few words.
    """

    @property
    def title(self) -> str: ...

    def __len__(self) -> int: ...

    def name(self, index: int, /) -> str:
        """Name of a pair, unique in the set."""
        ...

    def __getitem__(self, index: int) -> Pair:
        """Reads a pair.

        Raises:
          DataError: if a file cannot be read, or sizes differ.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Numbered:
    """A pair set given by two functions of the index: one names a pair, the other reads it.

    `digest` tells apart sets of the same kind, see `digest_of`.
    """

    title: str
    count: int
    name: Callable[[int], str]
    read: Callable[[int], tuple[Any, ...]]
    digest: str = ""

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Pair:
        return Pair(self.name(index), *self.read(index))


def digest_of(files: Iterable[tuple[str, str | os.PathLike[str]]]) -> str:
    """Digest of the names, sizes and first 64 KiB of files, whichever folder they are in."""
    found = hashlib.sha256()
    for name, path in files:
        with open(path, "rb") as file:
            start = file.read(65536)
        found.update(f"{name}\0{os.path.getsize(path)}\0".encode() + start)
    return found.hexdigest()[:16]


def centre_crop(image: np.ndarray, size: int) -> np.ndarray:
    """The central `size` x `size` pixels, or fewer if the image is smaller; 0: the whole image."""
    if not size:
        return image
    height, width = image.shape[:2]
    top, left = max(height - size, 0) // 2, max(width - size, 0) // 2
    return image[top : top + size, left : left + size]


def synthetic(photos: PhotoSet, crop: int = 0, seed: int = 0, blur: str = "dvsr") -> Numbered:
    """Pairs of photos and synthetically blurred versions, one per photo.

    Args:
      photos: sharp photographs.
      crop: side of the central crop in pixels; 0 takes whole photos.
      seed: the blur of photo i depends on (seed, i) alone.
      blur: name of one of `synthesis.SYNTHESES`; by default random camera shake (DvSR app. C).

    Raises:
      UsageError: if there is no such blur.
    """
    make = synthesis.named(blur)

    def read(index: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng((seed, index))
        taken = [photos[(index + i) % len(photos)] for i in range(make.photos)]
        taken[0] = centre_crop(taken[0], crop and crop + 2 * make.margin)
        return make(taken, rng, str(photos.paths[index]))

    # Folder and extension are omitted where the name is unique without them.
    stems = [path.stem for path in photos.paths]
    names = [
        str(path) if stems.count(stem) > 1 else stem
        for path, stem in zip(photos.paths, stems, strict=True)
    ]
    title = f"photos {make.title}"
    digest = digest_of(zip(names, photos.paths, strict=True))
    digest = digest if blur == "dvsr" else f"{digest}-{blur}"
    return Numbered(title, len(names), names.__getitem__, read, digest)


def folder(root: str | os.PathLike[str], crop: int = 0) -> Numbered:
    """The pairs of `folders.find_pairs`.

    Raises:
      DataError: if there are no pairs or a partner is missing.
    """
    found = find_pairs(root)

    def read(index: int) -> tuple[np.ndarray, np.ndarray]:
        blurry, sharp = found[index].read()
        return centre_crop(blurry, crop), centre_crop(sharp, crop)

    files = [(pair.id, path) for pair in found for path in (pair.blurry, pair.sharp)]
    title = f"pairs of {root}"
    return Numbered(title, len(found), lambda index: found[index].id, read, digest_of(files))


def of(
    photos: str | None, root: str | None, crop: int = 0, seed: int = 0, blur: str = "dvsr"
) -> Numbered:
    """Pairs of a folder of photos (`synthetic`) or of pairs (`folder`), whichever is given.

    Raises:
      UsageError: if not exactly one is given, or there is no such blur.
      DataError: if the folder has no pictures.
    """
    if photos and not root:
        return synthetic(open_photos(photos), crop, seed, blur)
    if root and not photos:
        return folder(root, crop)
    raise UsageError("give one of --photos and --pairs")


def prepared(
    dataset: str, data_dir: str | os.PathLike[str] | None, split: str, crop: int = 0
) -> Numbered:
    """The pairs of a data set that deblur-data prepared, in its order.

    Raises:
      DataError: if there is no such data set or split.
    """
    images = TfdsImages(dataset, data_dir, split)

    def read(index: int) -> tuple[np.ndarray, np.ndarray]:
        blurry, sharp = images[index]
        return centre_crop(blurry, crop), centre_crop(sharp, crop)

    return Numbered(images.name, len(images), images.id, read)
