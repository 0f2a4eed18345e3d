"""Sharp photographs to learn from: a folder, or those bundled with scikit-image."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from deblur_tf.base.errors import DataError
from deblur_tf.data.cache import ImageCache
from deblur_tf.data.parts import Part, spread
from deblur_tf.image_files.listing import PHOTO_EXTENSIONS, is_photo
from deblur_tf.image_files.reading import open_image, read_rgb
from deblur_tf.image_files.walking import walk

# Sharp colour photographs that come with the scikit-image package.
BUNDLED = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")


def list_images(folder: str | os.PathLike[str]) -> list[pathlib.Path]:
    """The image files below a folder, sorted; upper and lower case of extensions are equal.

    Hidden files and folders are skipped, as are those that macOS adds to archives.

    Raises:
      DataError: if the folder is missing or has no images.
    """
    root = pathlib.Path(folder)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    found = (here / name for here, _, files in walk(root) for name in files)
    paths = sorted(path for path in found if is_photo(path) and path.is_file())
    if not paths:
        raise DataError(f"{root}: no images ({', '.join(PHOTO_EXTENSIONS)}) in this folder")
    return paths


def bundled_photos() -> list[pathlib.Path]:
    """Paths of the sharp photographs bundled with scikit-image; no download."""
    return [_bundled(name) for name in BUNDLED]


def motion_blurred_photo() -> pathlib.Path:
    """A genuinely motion-blurred photograph bundled with scikit-image."""
    return _bundled("clock_motion.png")


def _bundled(name: str) -> pathlib.Path:
    import skimage

    return pathlib.Path(skimage.__file__).parent / "data" / name


class PhotoSet(Sequence[np.ndarray]):
    """Photos by index, kept decoded in memory up to a limit. Thread-safe.

    Args:
      paths: paths of the photos.
      reductions: factors by which sides are divided (averaging squares of pixels); the set
        holds each photo once per factor. Smaller photos are sharper, with less noise.
      cache_bytes: limit of the memory for decoded photos.
      total: number of photos of which these are a part; 0: these are all.
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        reductions: Sequence[int] = (1,),
        cache_bytes: int = 2 << 30,
        total: int = 0,
    ):
        if not paths:
            raise DataError("no photos given")
        if not reductions or any(r != int(r) or r < 1 for r in reductions):
            raise ValueError(f"reductions must be whole numbers from 1 on, got {reductions}")
        self.paths = [pathlib.Path(p) for p in paths]
        self.reductions = tuple(reductions)
        self.total = total or len(self.paths)
        self._cache = ImageCache(self._read, cache_bytes)

    def __len__(self) -> int:
        return len(self.paths) * len(self.reductions)

    def __getitem__(self, index: int) -> np.ndarray:
        """uint8 [H, W, 3]."""
        return self._cache[index]

    def _read(self, index: int) -> np.ndarray:
        photo = read_rgb(self.paths[index % len(self.paths)])
        reduction = self.reductions[index // len(self.paths)]
        if reduction == 1:
            return photo
        return np.asarray(Image.fromarray(photo).reduce(reduction))


def open_photos(
    folder: str | os.PathLike[str] | None,
    reductions: Sequence[int] = (1,),
    part: Part = "all",
    min_side: int = 1,
) -> PhotoSet:
    """The photos of a folder; with None or "", the bundled ones.

    Only the headers of the files are read.

    Args:
      folder: folder of the photos.
      reductions: see `PhotoSet`.
      part: which of the photos, see `parts.spread`.
      min_side: smallest usable side in pixels, after reduction.

    Raises:
      DataError: if there are no photos, or one of them is not an image or too small.
    """
    found = list_images(folder) if folder else bundled_photos()
    photos = PhotoSet([found[i] for i in spread(len(found), part)], reductions, total=len(found))
    least = min_side * max(reductions)
    for path in photos.paths:
        with open_image(path, path) as image:
            if min(image.size) < least:
                raise DataError(
                    f"{path}: {image.width}x{image.height} pixels are too few to learn from "
                    f"(each side needs at least {least}); remove it"
                )
    return photos
