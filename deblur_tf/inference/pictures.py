"""Converts paths, PIL images and arrays to pixels, and results back to the same kind."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np
from PIL import Image

from deblur_tf.image_files.reading import Photo, read_photo, to_8_bits, to_srgb

_LARGEST = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}


def pixels_to_model_range(pixels: np.ndarray) -> np.ndarray:
    """uint8, uint16 or float in [0, 1] -> float32 in [-1, 1], of any shape [..., 3].

    Raises:
      ValueError: for another type, number of channels or range.
    """
    if pixels.shape[-1] != 3:
        raise ValueError(f"need 3 channels, [..., 3], got {pixels.shape}")
    if pixels.dtype in _LARGEST:
        return pixels.astype(np.float32) / np.float32(_LARGEST[pixels.dtype] / 2.0) - np.float32(
            1.0
        )
    if not np.issubdtype(pixels.dtype, np.floating):
        raise ValueError(f"need uint8, uint16 or float, got {pixels.dtype}")
    if pixels.size and not (pixels.min() >= 0.0 and pixels.max() <= 1.0):  # refuses NaN too
        raise ValueError(
            f"float images must be in [0, 1], got {pixels.min():g} to {pixels.max():g}"
        )
    return 2.0 * pixels.astype(np.float32) - np.float32(1.0)


def model_range_to_pixels(image: np.ndarray, dtype: Any) -> np.ndarray:
    """float32 in [-1, 1] -> `dtype`: integers are rounded to nearest, floats are in [0, 1]."""
    largest = np.float32(_LARGEST.get(np.dtype(dtype), 1.0))
    scaled = np.clip((image.astype(np.float32) + np.float32(1.0)) * (largest / 2), 0.0, largest)
    return (np.round(scaled) if np.dtype(dtype) in _LARGEST else scaled).astype(dtype)


def mean_image(samples: np.ndarray, dtype: Any = np.uint8) -> np.ndarray:
    """The float mean of samples, rounded once (sample averaging, DvSR sec. 4.1).

    float32 [N, H, W, 3] in [-1, 1] -> [H, W, 3] of `dtype`, see `model_range_to_pixels`.
    """
    return model_range_to_pixels(samples.mean(axis=0), dtype)


@dataclasses.dataclass(frozen=True)
class Taken:
    """An input picture, with what is needed to return the result in the same form.

    Attributes:
      pixels: [B, H, W, 3].
      single: whether the input had no batch axis.
      photo: the photo, if the input was the path of a file.
      image: the input, if it was a PIL image; the result gets its mode and info.
      channels: number of channels of an array, 0 for one of gray values without an axis for them.
      alpha: alpha of an array of four channels, [B, H, W, 1]; the result gets it unchanged.
    """

    pixels: np.ndarray
    single: bool = False
    photo: Photo | None = None
    image: Image.Image | None = None
    channels: int = 3
    alpha: np.ndarray | None = None

    def give_back(self, restored: np.ndarray) -> Any:
        """The restored pixels, float32 [B, H, W, 3] in [-1, 1], in the form of the input."""
        pixels = model_range_to_pixels(restored, self.pixels.dtype)
        if self.photo is not None:
            return _pil_of_file(pixels[0], self.photo)
        if self.image is not None:
            return _like(pixels[0], self.image)
        if self.channels < 3:  # gray stays gray, so any of the three is it
            pixels = pixels[..., 0] if self.channels == 0 else pixels[..., :1]
        if self.alpha is not None:
            pixels = np.concatenate([pixels, self.alpha], axis=-1)
        return pixels[0] if self.single else pixels


def take(picture: str | os.PathLike[str] | Image.Image | np.ndarray) -> Taken:
    """Reads the pixels of a picture of any supported kind.

    Raises:
      ValueError: for an array that is no picture, or a PIL image of 32 bits.
      DataError: if a file cannot be read.
    """
    if isinstance(picture, (str, os.PathLike)):
        photo = read_photo(picture)
        return Taken(photo.pixels[None], photo=photo)
    if isinstance(picture, Image.Image):
        if picture.mode in ("I", "F"):
            raise ValueError(f"need 8 or 16 bits, got a PIL image of mode {picture.mode}")
        if picture.mode in ("CMYK", "LAB"):
            picture = to_srgb(picture.copy(), [])
        if picture.mode.startswith("I;16"):
            values = np.repeat(np.asarray(picture, np.uint16)[:, :, None], 3, axis=2)
        else:
            values = np.asarray(picture.convert("RGB"))
        return Taken(values[None], image=picture)
    if type(picture).__name__ == "SymbolicTensor" or "Tracer" in type(picture).__name__:
        raise ValueError(
            "a Deblurrer takes pictures, not tensors of a function that is being compiled: in "
            "tf.function or jax.jit use deblur_tf.Restoration, see docs/library.md"
        )
    return _take_array(np.asarray(picture))


def _take_array(array: np.ndarray) -> Taken:
    gray = array.ndim == 2
    channels = array.shape[-1] if array.ndim > 2 else 0
    if array.ndim not in (2, 3, 4) or channels not in (0, 1, 3, 4):
        raise ValueError(
            f"need [H, W], or [H, W, C] or [B, H, W, C] with C 1 (gray), 3 (RGB) or 4 (RGBA), got "
            f"{array.shape}"
        )
    if array.dtype not in _LARGEST and not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"need uint8, uint16 or float, got {array.dtype}")
    single = array.ndim < 4
    batch = array[None] if single else array
    batch = batch[..., None] if gray else batch
    colors, alpha = batch[..., :3], batch[..., 3:]
    if channels < 3:
        colors = np.repeat(colors, 3, axis=-1)
    return Taken(colors, single=single, channels=channels, alpha=alpha if alpha.shape[-1] else None)


def _pil_of_file(pixels: np.ndarray, photo: Photo) -> Image.Image:
    """An image of 8 bits, since PIL has no 16-bit colour; 16-bit gray is kept."""
    if photo.gray and pixels.dtype == np.uint16 and photo.alpha is None:
        result = Image.fromarray(pixels[..., 1])
    else:
        result = Image.fromarray(to_8_bits(pixels))
        result = result.convert("L") if photo.gray else result
        if photo.alpha is not None:
            result.putalpha(Image.fromarray(to_8_bits(photo.alpha)))
    has = photo.metadata
    found = {"exif": has.exif, "icc_profile": has.icc_profile, "dpi": has.dpi, "xmp": has.xmp}
    result.info = {name: value for name, value in found.items() if value}
    return result


def _like(pixels: np.ndarray, image: Image.Image) -> Image.Image:
    """An image of the same mode where it is gray or has alpha, else RGB; info is kept."""
    if pixels.dtype == np.uint16:
        result = Image.fromarray(pixels[..., 1])
    else:
        result = Image.fromarray(pixels)
        if image.mode in ("1", "L", "LA", "La"):
            result = result.convert("L")
        if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
            result.putalpha(image.convert("RGBA").getchannel("A"))
    result.info = {k: v for k, v in image.info.items() if k != "transparency"}
    return result
