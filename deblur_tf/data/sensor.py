"""How a camera turns light into a file: saturation, noise, colour filter, tone curve, JPEG.

In NumPy, SciPy and Pillow alone. Linear light and stored values are float32 in [0, 1].
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy import ndimage

# White-balance gains by which raw values are multiplied (RSBlur, Rim et al. 2022).
RED_GAIN, BLUE_GAIN = (1.9, 2.4), (1.5, 1.9)
# Values from this one on count as clipped and have no noise.
CLIPPED = 0.99


def to_light(stored: np.ndarray, gamma: float = 2.2) -> np.ndarray:
    """Converts stored values to linear light: the sRGB curve, to the power of gamma / 2.2.

    Cameras' tone curves differ; gamma = 2.2 is sRGB itself (IEC 61966-2-1). Negative values,
    which the rounding of Fourier transforms leaves, are taken as 0.
    """
    stored = np.maximum(stored, 0.0)
    light = np.where(stored <= 0.04045, stored / 12.92, ((stored + 0.055) / 1.055) ** 2.4)
    return (light ** (gamma / 2.2)).astype(np.float32)


def to_stored(light: np.ndarray, gamma: float = 2.2) -> np.ndarray:
    """Converts linear light, clipped to [0, 1], to stored values: the inverse of `to_light`."""
    light = np.clip(light, 0.0, 1.0) ** (2.2 / gamma)
    curve = 1.055 * light ** (1.0 / 2.4) - 0.055
    return np.where(light <= 0.0031308, 12.92 * light, curve).astype(np.float32)


def brightened(light: np.ndarray, factor: float, threshold: float = 0.95) -> np.ndarray:
    """Multiplies the light of nearly clipped pixels by a factor (RSBlur sec. 4).

    A photograph stores no light above 1. Lamps and reflections were brighter, which shows in
    their streaks in a blurry picture.

    Args:
      light: [H, W, C] in [0, 1].
      factor: 1 or more.
      threshold: value above which a channel counts as nearly clipped.
    """
    return np.where(light > threshold, light * factor, light)


def shot_and_read_noise(
    light: np.ndarray, rng: np.random.Generator, shot: float, read: float, mosaic: bool
) -> np.ndarray:
    """Adds sensor noise: Gaussian of variance shot * light + read^2, in raw values.

    Raw red and blue values are smaller by the gains of white balance, so the gains amplify their
    noise. Clipped pixels have no noise.

    Args:
      light: [H, W, 3] in [0, 1].
      rng: source of randomness.
      shot: variance per unit of raw light.
      read: standard deviation without light.
      mosaic: whether each pixel measures one colour only, the others being interpolated.

    Returns:
      [H, W, 3]; values may lie outside of [0, 1].
    """
    gains = np.array([rng.uniform(*RED_GAIN), 1.0, rng.uniform(*BLUE_GAIN)], np.float32)
    raw = light / gains
    stddev = np.sqrt(np.maximum(shot * raw, 0.0) + read * read)
    stddev = np.where(light >= CLIPPED, 0.0, stddev)
    raw = raw + stddev * rng.standard_normal(light.shape, dtype=np.float32)
    return demosaiced(raw * gains) if mosaic else raw * gains


def demosaiced(image: np.ndarray) -> np.ndarray:
    """Keeps one colour per pixel (RGGB) and interpolates the others from neighbouring pixels.

    Uses the gradient-corrected linear filters of Malvar, He and Cutler (2004).
    [H, W, 3] -> [H, W, 3], float32.
    """
    height, width = image.shape[:2]
    rows, columns = np.arange(height)[:, None] % 2, np.arange(width) % 2
    red, blue = (rows == 0) & (columns == 0), (rows == 1) & (columns == 1)
    green = ~(red | blue)
    mosaic = np.where(red, image[..., 0], np.where(blue, image[..., 2], image[..., 1]))

    def filtered(weights: Sequence[Sequence[float]]) -> np.ndarray:
        return ndimage.correlate(mosaic, np.array(weights, np.float32) / 8.0, mode="mirror")

    cross = filtered(_GREEN)
    beside, above, corner = filtered(_ROW), filtered(np.transpose(_ROW).tolist()), filtered(_CORNER)
    in_red_row = np.broadcast_to(rows == 0, green.shape)
    result = np.empty_like(image)
    result[..., 1] = np.where(green, mosaic, cross)
    result[..., 0] = np.where(
        red, mosaic, np.where(blue, corner, np.where(in_red_row, beside, above))
    )
    result[..., 2] = np.where(
        blue, mosaic, np.where(red, corner, np.where(in_red_row, above, beside))
    )
    return result


_GREEN = [[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]
_ROW = [
    [0, 0, 0.5, 0, 0],
    [0, -1, 0, -1, 0],
    [-1, 4, 5, 4, -1],
    [0, -1, 0, -1, 0],
    [0, 0, 0.5, 0, 0],
]
_CORNER = [
    [0, 0, -1.5, 0, 0],
    [0, 2, 0, 2, 0],
    [-1.5, 0, 6, 0, -1.5],
    [0, 2, 0, 2, 0],
    [0, 0, -1.5, 0, 0],
]


def quantized(stored: np.ndarray) -> np.ndarray:
    """Stored values in 8 bits: uint8, rounded to nearest, clipped."""
    return np.round(np.clip(stored, 0.0, 1.0) * 255.0).astype(np.uint8)


def resized_and_back(image: np.ndarray, factor: float) -> np.ndarray:
    """Scales an image down by `factor` and up to its size again: uint8 [H, W, 3]."""
    height, width = image.shape[:2]
    small = (max(round(width * factor), 1), max(round(height * factor), 1))
    smaller = Image.fromarray(image).resize(small, Image.Resampling.BICUBIC)
    return np.asarray(smaller.resize((width, height), Image.Resampling.BICUBIC))


def compressed(image: np.ndarray, quality: int) -> np.ndarray:
    """The image after JPEG compression: uint8 [H, W, 3]."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "jpeg", quality=quality)
    return np.asarray(Image.open(buffer))
