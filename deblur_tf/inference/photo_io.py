"""Photo files in and out, without losing what is not pixels."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import tempfile

import numpy as np
from PIL import Image, ImageOps

from deblur_tf.data.photos import DataError

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


def read_photo(path: str | os.PathLike[str]) -> Photo:
    """Reads a photo, upright by its EXIF orientation.

    Raises:
      DataError: if the file cannot be read, or has more than 8 bits a channel.
    """
    try:
        with Image.open(path) as file:
            if file.mode.startswith(("I", "F")):
                raise DataError(
                    f"{path}: 16-bit and float images are not supported; convert it to 8 bit"
                )
            image = ImageOps.exif_transpose(file)
            exif = image.getexif()
            exif.pop(_ORIENTATION, None)
            transparent = "A" in image.getbands() or "transparency" in image.info
            alpha = image.convert("RGBA").getchannel("A") if transparent else None
            return Photo(
                pixels=np.asarray(image.convert("RGB")),
                gray=image.mode in ("1", "L", "LA"),
                alpha=None if alpha is None else np.asarray(alpha),
                exif=exif.tobytes() if len(exif) else b"",
                icc_profile=file.info.get("icc_profile"),
            )
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: cannot be read as an image ({error})") from error


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
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            image.save(file, **options)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
