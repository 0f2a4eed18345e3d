"""Photo files in and out, without losing what is not pixels."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from deblur_tf.errors import DataError
from deblur_tf.files import replacing

_SAVE_OPTIONS = {
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".png": {"format": "PNG"},
    ".webp": {"format": "WEBP", "quality": 95},
    ".tif": {"format": "TIFF", "compression": "tiff_deflate"},
    ".tiff": {"format": "TIFF", "compression": "tiff_deflate"},
    ".bmp": {"format": "BMP"},
}
OUTPUT_EXTENSIONS = tuple(_SAVE_OPTIONS)
_ORIENTATION = 0x0112


@dataclasses.dataclass(frozen=True)
class Photo:
    """A decoded photo.

    Attributes:
      pixels: uint8 [H, W, 3], upright.
      gray: the file had one channel.
      alpha: uint8 [H, W], or None.
      exif: EXIF block without the orientation, which has been applied.
      icc_profile: colour profile, or None.
    """

    pixels: np.ndarray
    gray: bool = False
    alpha: np.ndarray | None = None
    exif: bytes = b""
    icc_profile: bytes | None = None


def open_image(file: str | os.PathLike[str] | BinaryIO, name: object) -> Image.Image:
    """Opens an image file; only its header is read.

    Args:
      file: path, or an open file.
      name: what errors call it.

    Raises:
      DataError: if it is no image, or of a kind that has no fixed range.
    """
    with _errors(name):
        image = Image.open(file)
        if image.mode in ("F", "I"):
            image.close()
            raise DataError(
                f"{name}: 32-bit and float images have no fixed range; convert it to 8 or 16 bit"
            )
        return image


def read_photo(file: str | os.PathLike[str] | BinaryIO, name: object = None) -> Photo:
    """Reads a photo, upright by its EXIF orientation; 16 bits are scaled to 8.

    Args:
      file: path, or an open file.
      name: what errors call it; None: the path.

    Raises:
      DataError: if the file cannot be read.
    """
    name = file if name is None else name
    with open_image(file, name) as opened, _errors(name):
        image = ImageOps.exif_transpose(opened)
        exif = image.getexif()
        exif.pop(_ORIENTATION, None)
        gray = image.mode in ("1", "L", "LA") or image.mode.startswith("I;16")
        if image.mode.startswith("I;16"):  # Pillow would clip at 255
            scaled = np.round(np.asarray(image).astype(np.float32) / 257.0)
            image = Image.fromarray(scaled.astype(np.uint8))
        transparent = "A" in image.getbands() or "transparency" in image.info
        alpha = image.convert("RGBA").getchannel("A") if transparent else None
        return Photo(
            pixels=np.asarray(image.convert("RGB")),
            gray=gray,
            alpha=None if alpha is None else np.asarray(alpha),
            exif=exif.tobytes() if len(exif) else b"",
            icc_profile=opened.info.get("icc_profile"),
        )


def read_rgb(file: str | os.PathLike[str] | BinaryIO, name: object = None) -> np.ndarray:
    """The pixels of `read_photo`, uint8 [H, W, 3].

    Raises:
      DataError: if the file cannot be read.
    """
    return read_photo(file, name).pixels


@contextlib.contextmanager
def _errors(name: object) -> Iterator[None]:
    """Within, whatever Pillow raises for a bad file is a `DataError`."""
    try:
        yield
    except DataError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{name}: cannot be read as an image ({error})") from error


def write_photo(
    path: str | os.PathLike[str], pixels: np.ndarray, like: Photo | None = None
) -> None:
    """Writes a photo; the file is complete before it gets its name.

    Args:
      path: its extension, one of `OUTPUT_EXTENSIONS`, gives the format.
      pixels: uint8 [H, W, 3].
      like: the photo whose EXIF, profile, alpha and gray mode carry over;
        formats that have no alpha drop it.
    """
    path = pathlib.Path(path)
    options = dict(_SAVE_OPTIONS[path.suffix.lower()])
    image = Image.fromarray(pixels)
    if like is not None:
        if like.gray:
            image = image.convert("L")
        if like.alpha is not None and options["format"] in ("PNG", "WEBP", "TIFF"):
            image.putalpha(Image.fromarray(like.alpha))
        if like.exif:
            options["exif"] = like.exif
        if like.icc_profile:
            options["icc_profile"] = like.icc_profile
    with replacing(path) as file:
        image.save(file, **options)
