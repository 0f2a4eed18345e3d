"""Reads photo files: any of `FORMATS`, turned upright, in 8 or 16 bits."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import stat
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import numpy as np
from PIL import Image, ImageCms, ImageFile, TiffImagePlugin, UnidentifiedImageError

from deblur_tf.base.errors import DataError
from deblur_tf.image_files.metadata import Metadata, read_metadata

# Formats that may be opened, whatever a file is called: others, such as PostScript, can run
# programs, or do not hold photographs.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF", "JPEG2000", "PPM")
_ORIENTATION, _PHOTOMETRIC, _EXTRA_SAMPLES = 0x0112, 0x0106, 0x0152
_HEIF_EXTENSIONS = (".heic", ".heif")


@dataclasses.dataclass(frozen=True)
class Photo:
    """A decoded photo.

    Attributes:
      pixels: uint8 or uint16 [H, W, 3], upright.
      gray: whether the file had one colour channel.
      alpha: [H, W] of the same type, or None.
      metadata: the metadata to keep.
      notes: a phrase for each thing that could not be kept.
    """

    pixels: np.ndarray
    gray: bool = False
    alpha: np.ndarray | None = None
    metadata: Metadata = Metadata()
    notes: tuple[str, ...] = ()


def open_image(file: str | os.PathLike[str] | BinaryIO, name: object) -> Image.Image:
    """Opens an image file; only its header is read.

    Args:
      file: path, or an open file.
      name: the file's name in error messages.

    Raises:
      DataError: if it is not an image, or its type of pixels has no fixed range.
    """
    with _errors(name):
        if isinstance(file, (str, os.PathLike)):
            if not stat.S_ISREG(os.stat(file).st_mode):  # opening a pipe could block for ever
                raise DataError(f"{name}: not a regular file")
            if os.fspath(file).lower().endswith(_HEIF_EXTENSIONS):
                _open_heif(name)
        Image.init()
        image = Image.open(file, formats=[kind for kind in FORMATS if kind in Image.OPEN])
        if image.mode == "F" or (image.mode == "I" and image.format != "PPM"):
            image.close()
            raise DataError(
                f"{name}: 32-bit and float images have no fixed range; convert it to 8 or 16 bit"
            )
        return image


def _open_heif(name: object) -> None:
    """Registers the HEIF format with Pillow.

    Raises:
      DataError: if the package for it is not installed.
    """
    try:
        import pillow_heif
    except ImportError as error:
        raise DataError(
            f"{name}: HEIC needs one more package: pip install 'deblur-tf[heif]'"
        ) from error
    pillow_heif.register_heif_opener()


def _has_16_bits(image: Image.Image) -> bool:
    """Whether values have 16 bits of which Pillow would drop the lower 8."""
    if image.mode not in ("RGB", "RGBA", "RGBX", "LA", "I;16", "I;16B"):
        return False
    tiles = getattr(image, "tile", None) or []
    if image.format == "PPM":
        return image.mode == "RGB" and tiles[0][0] == "ppm" and tiles[0][3][-1] > 255
    modes = [tile[3][0] if isinstance(tile[3], tuple) else tile[3] for tile in tiles]
    return image.format in ("PNG", "TIFF") and any(";16" in str(mode) for mode in modes)


def _read_16_bits(
    file: str | os.PathLike[str] | BinaryIO,
    image: Image.Image,
    tiles: list[Any],
    notes: list[str],
) -> np.ndarray:
    """uint16 [H, W, channels], as stored; `tiles` are the image's before it was loaded."""
    if isinstance(file, (str, os.PathLike)):
        with open(file, "rb") as opened:
            data = opened.read()
    else:
        file.seek(0)
        data = file.read()
    if image.format == "PNG":
        import imagecodecs

        found = imagecodecs.png_decode(data)
    elif image.format == "PPM":
        _, _, offset, (*_, largest) = tiles[0]
        width, height = image.size
        found = np.frombuffer(data, ">u2", height * width * 3, offset).reshape(height, width, 3)
        found = np.round(np.minimum(found / largest, 1.0) * 65535).astype(np.uint16)
    else:
        import tifffile

        found = tifffile.imread(io.BytesIO(data), key=0)
        if found.ndim == 3 and found.shape[0] in (1, 3, 4) and found.shape[2] not in (1, 3, 4):
            found = np.moveaxis(found, 0, 2)  # a plane for each channel
        tags = cast(TiffImagePlugin.TiffImageFile, image).tag_v2
        if tags.get(_PHOTOMETRIC) == 0:  # white is zero
            found = 65535 - found
        found = _with_straight_alpha(found, tags.get(_EXTRA_SAMPLES, ()), notes)
    found = found[:, :, None] if found.ndim == 2 else found
    # Pillow rotates a TIFF by itself while loading it.
    same = sorted(found.shape[:2]) == sorted(image.size)
    if found.dtype != np.uint16 or not same or found.shape[2] not in (1, 2, 3, 4):
        raise ValueError(f"16-bit values of shape {found.shape}, {found.dtype}")
    return found


def _with_straight_alpha(
    values: np.ndarray, extra: tuple[int, ...], notes: list[str]
) -> np.ndarray:
    """uint16 [H, W, channels] with straight alpha: colours that are not premultiplied by it.

    Args:
      values: as stored.
      extra: TIFF's ExtraSamples: 0 unspecified, 1 premultiplied alpha, 2 straight alpha.
      notes: a phrase is appended if a channel is dropped.
    """
    if values.ndim != 3 or values.shape[2] not in (2, 4) or not extra or extra[0] == 2:
        return values
    colour, alpha = values[..., :-1], values[..., -1:]
    if extra[0] == 0:
        notes.append("its extra channel, which is not declared as alpha, is dropped")
        return colour
    straight = np.round(colour * (65535.0 / np.maximum(alpha, 1)))
    return np.concatenate([np.minimum(straight, 65535.0).astype(np.uint16), alpha], axis=2)


# By EXIF orientation, but for 1: whether rows and columns are swapped, then the step along rows
# and along columns, where -1 reverses them.
_TURNS = {
    2: (False, 1, -1),
    3: (False, -1, -1),
    4: (False, -1, 1),
    5: (True, 1, 1),
    6: (True, 1, -1),
    7: (True, -1, -1),
    8: (True, -1, 1),
}


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """[H, W, C] rotated and mirrored as the EXIF orientation requires."""
    swap, rows, columns = _TURNS.get(orientation, (False, 1, 1))
    pixels = pixels.swapaxes(0, 1) if swap else pixels
    return np.ascontiguousarray(pixels[::rows, ::columns])


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 if it is missing or damaged."""
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # `read_metadata` notes the damage
        return 1
    return found if found in _TURNS else 1


def to_srgb(image: Image.Image, notes: list[str]) -> Image.Image:
    """Converts a CMYK or Lab image to RGB by its profile, if it has one; drops that profile."""
    profile, mode = image.info.pop("icc_profile", None), image.mode
    srgb = ImageCms.createProfile("sRGB")
    if mode == "LAB":
        given = ImageCms.createProfile("LAB")
    elif profile:
        given = io.BytesIO(profile)
    else:
        notes.append("CMYK became RGB; without a profile, colours are approximate")
        return image.convert("RGB")
    try:
        converted = ImageCms.profileToProfile(image, given, srgb, outputMode="RGB")
    except ImageCms.PyCMSError:
        notes.append(f"{mode} became RGB; its profile is damaged, and colours are approximate")
        return image.convert("RGB")
    assert converted is not None  # only a conversion in place returns nothing
    converted.info = dict(image.info) | dict(icc_profile=ImageCms.ImageCmsProfile(srgb).tobytes())
    notes.append(f"{mode} became RGB with the profile sRGB")
    return converted


def read_photo(file: str | os.PathLike[str] | BinaryIO, name: object = None) -> Photo:
    """Reads a photo and turns it upright by its EXIF orientation.

    Args:
      file: path, or an open file.
      name: the file's name in error messages; None: the path.

    Raises:
      DataError: if the file cannot be read.
    """
    name = file if name is None else name
    notes: list[str] = []
    with open_image(file, name) as opened, _errors(name):
        frames = getattr(opened, "n_frames", 1)
        if frames > 1:
            notes.append(f"only the first of its {frames} pictures is restored")
        # Read before loading, which loses the bit depth and rotates a TIFF.
        deep, stored, tiles = (
            _has_16_bits(opened),
            _orientation(opened),
            cast(ImageFile.ImageFile, opened).tile,
        )
        opened.load()
        metadata = read_metadata(opened, notes, turned=stored > 4)
        if deep:
            return _deep(
                upright(_read_16_bits(file, opened, tiles, notes), stored), metadata, notes
            )
        orientation = _orientation(opened)
        if opened.mode.startswith("I"):
            values = np.clip(np.asarray(opened), 0, 65535)[:, :, None]
            return _deep(upright(values, orientation), metadata, notes)
        image = opened
        if image.mode in ("CMYK", "LAB"):
            image = to_srgb(image, notes)
            profile = image.info.get("icc_profile")
            metadata = dataclasses.replace(metadata, icc_profile=profile)
        gray = image.mode in ("1", "L", "LA", "La")
        transparent = "A" in image.getbands() or "a" in image.getbands()
        if transparent or "transparency" in image.info:
            image = image.convert("RGBA")
        values = upright(
            np.asarray(image.convert("RGBA" if image.mode == "RGBA" else "RGB")), orientation
        )
        return Photo(
            pixels=np.ascontiguousarray(values[..., :3]),
            gray=gray,
            alpha=np.ascontiguousarray(values[..., 3]) if values.shape[2] == 4 else None,
            metadata=metadata,
            notes=tuple(notes),
        )


def _deep(values: np.ndarray, metadata: Metadata, notes: list[str]) -> Photo:
    """A photo from uint16 [H, W, 1 to 4]."""
    channels = values.shape[2]
    colour = values[..., : 1 if channels < 3 else 3].astype(np.uint16)
    alpha = np.ascontiguousarray(values[..., -1]) if channels in (2, 4) else None
    pixels = np.repeat(colour, 3, axis=2) if channels < 3 else np.ascontiguousarray(colour)
    return Photo(pixels, channels < 3, alpha, metadata, tuple(notes))


def to_8_bits(values: np.ndarray) -> np.ndarray:
    """Converts uint8 or uint16 to uint8: full range to full range, rounded."""
    if values.dtype == np.uint8:
        return values
    return np.round(values.astype(np.float32) / 257.0).astype(np.uint8)


def read_rgb(file: str | os.PathLike[str] | BinaryIO, name: object = None) -> np.ndarray:
    """The pixels of `read_photo`, uint8 [H, W, 3].

    Raises:
      DataError: if the file cannot be read.
    """
    return to_8_bits(read_photo(file, name).pixels)


@contextlib.contextmanager
def _errors(name: object) -> Iterator[None]:
    """Context that turns whatever a decoder raises for a bad file into a `DataError`."""
    try:
        yield
    except DataError:
        raise
    except MemoryError as error:
        raise DataError(f"{name}: too large for the memory of this machine") from error
    except UnidentifiedImageError as error:  # names a path that the reader may not know
        raise DataError(f"{name}: cannot be read as an image (unknown format)") from error
    except Exception as error:  # decoders raise struct.error, KeyError, ZeroDivisionError ...
        reason = str(error) or type(error).__name__
        raise DataError(f"{name}: cannot be read as an image ({reason})") from error
