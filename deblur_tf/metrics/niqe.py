"""NIQE (Mittal et al., 2013), as in the authors' release (UT Austin), in float64.

Measures how natural a picture looks, without a reference: compares statistics of blocks of its
normalised luminance with those of pristine photographs. Lower is better.
"""

from __future__ import annotations

import dataclasses
import os
import typing
from collections.abc import Iterable
from typing import Literal

import numpy as np
from scipy import ndimage
from scipy.special import gamma

from deblur_tf.base.errors import ConfigError, DataError
from deblur_tf.base.registry import configurable
from deblur_tf.metrics.base import PerImage, check
from deblur_tf.metrics.weights import WeightFile, check_arrays, find, sha256
from deblur_tf.storage.arrays import read_npz

FILE = WeightFile(
    "niqe_pris_params.npz",
    "sharp photographs",
    "deblur-weights make niqe --photos=DIR",
)
BLOCK = 96  # side of blocks in pixels; half of it at half scale
SHARPNESS = 0.75  # share of the sharpest block's; pristine statistics omit less sharp blocks
SNAP = 1e-9  # smaller values are rounding errors in flat areas
Color = Literal["gray", "y"]

_SHAPES = np.arange(0.2, 10.001, 0.001)
_RATIOS = gamma(2 / _SHAPES) ** 2 / (gamma(1 / _SHAPES) * gamma(3 / _SHAPES))  # increasing
_SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))
_WINDOW = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
_WINDOW /= _WINDOW.sum()
# Bicubic (a = -0.5), stretched to take half of the samples: MATLAB's imresize(., 0.5).
_HALVING = np.array([-0.01171875, -0.03515625, 0.11328125, 0.43359375])
_HALVING = np.concatenate([_HALVING, _HALVING[::-1]])


@dataclasses.dataclass(frozen=True)
class Pristine:
    """Mean [36] and covariance [36, 36] of the features of pristine photographs."""

    mean: np.ndarray
    covariance: np.ndarray


def luminance(image: np.ndarray, color: Color = "gray") -> np.ndarray:
    """uint8 [H, W, 3] -> float64 [H, W], whole numbers.

    "gray" is MATLAB's rgb2gray, as in the release; "y" is the Y of MATLAB's rgb2ycbcr.
    """
    check(image)
    if color == "gray":
        weights, offset = (0.298936021293775, 0.587043074451121, 0.114020904255103), 0.0
    else:
        weights, offset = tuple(w / 255 for w in (65.481, 128.553, 24.966)), 16.0
    return np.floor(image @ np.array(weights) + offset + 0.5)


def half(image: np.ndarray) -> np.ndarray:
    """MATLAB's imresize(image, 0.5): bicubic with antialiasing, edges mirrored.

    float64 [H, W], even sides -> [H / 2, W / 2].
    """
    for axis in range(2):
        image = ndimage.correlate1d(image, _HALVING, axis=axis, mode="reflect", origin=-1)
        image = image[::2] if axis == 0 else image[:, ::2]
    return image


def normalised(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(I - mu) / (sigma + 1) and sigma, local moments under a 7x7 Gaussian (NIQE eq. 1 to 3).

    Rounding errors in flat areas are set to zero: otherwise the fits below would model this
    noise.
    """

    def smooth(x: np.ndarray) -> np.ndarray:
        for axis in range(2):
            x = ndimage.correlate1d(x, _WINDOW, axis=axis, mode="nearest")
        return x

    mean = smooth(image)
    deviation = np.sqrt(np.abs(smooth(image * image) - mean * mean))
    values = (image - mean) / (deviation + 1)
    values[np.abs(values) < SNAP] = 0.0
    return values, deviation


def aggd(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Asymmetric generalised Gaussians fitted to rows: shape, left and right scale.

    Fitted by moments (Lasmar et al., 2009): [N, K] -> [N] each; NaN where a side is empty.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        left, right = (
            np.sqrt(np.sum(np.where(side, x * x, 0), 1) / np.sum(side, 1))
            for side in (x < 0, x > 0)
        )
        ratio = left / right
        spread = np.mean(np.abs(x), 1) ** 2 / np.mean(x * x, 1)
        wanted = spread * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    above = np.clip(np.searchsorted(_RATIOS, wanted), 1, len(_RATIOS) - 1)
    nearer_below = wanted - _RATIOS[above - 1] <= _RATIOS[above] - wanted
    shape = np.where(np.isnan(wanted), _SHAPES[0], _SHAPES[above - nearer_below])
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, left * scale, right * scale


def _blocks(image: np.ndarray, side: int) -> np.ndarray:
    """[H, W] -> [blocks, side, side], row by row; H and W are multiples of `side`."""
    rows, columns = (n // side for n in image.shape)
    return image.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side, side)


def _block_features(values: np.ndarray, side: int) -> np.ndarray:
    """The 18 features of each block of one scale."""
    blocks = _blocks(values, side)
    flat = blocks.reshape(len(blocks), -1)
    shape, left, right = aggd(flat)
    found = [shape, (left + right) / 2]
    for shift in _SHIFTS:
        moved = np.roll(blocks, shift, axis=(1, 2)).reshape(flat.shape)
        shape, left, right = aggd(flat * moved)
        found += [shape, (right - left) * gamma(2 / shape) / gamma(1 / shape), left, right]
    return np.stack(found, axis=1)


def features(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 36 features of each 96x96 block, and its sharpness (mean local deviation).

    float64 [H, W], 96 pixels a side or more -> [blocks, 36], [blocks].
    """
    height, width = (n // BLOCK * BLOCK for n in image.shape)
    image = image[:height, :width]
    values, deviation = normalised(image)
    fine = _block_features(values, BLOCK)
    coarse = _block_features(normalised(half(image))[0], BLOCK // 2)
    return np.hstack([fine, coarse]), _blocks(deviation, BLOCK).mean((1, 2))


def _statistics(rows: np.ndarray) -> Pristine:
    """Mean of each column without its NaNs, covariance of the rows without NaN."""
    whole = rows[~np.isnan(rows).any(1)]
    if len(whole) < 2:
        nothing = np.full(rows.shape[1], np.nan)
        return Pristine(nothing, np.diag(nothing))
    return Pristine(np.nanmean(rows, 0), np.cov(whole, rowvar=False))


def distance(image: np.ndarray, pristine: Pristine, color: Color = "gray") -> float:
    """NIQE (eq. 10) of a picture, uint8 [H, W, 3]; NaN without texture or for a single block."""
    found = _statistics(features(luminance(image, color))[0])
    if np.isnan(found.mean).any():
        return float("nan")
    difference = pristine.mean - found.mean
    inverse = np.linalg.pinv((pristine.covariance + found.covariance) / 2)
    return float(np.sqrt(difference @ inverse @ difference))


def fit(photos: Iterable[np.ndarray], color: Color = "gray") -> Pristine:
    """Statistics of the sharp blocks of pristine photographs, uint8 [H, W, 3].

    Raises:
      DataError: if there are too few blocks for a covariance.
    """
    chosen = [np.empty((0, 36))]
    for photo in photos:
        rows, sharpness = features(luminance(photo, color))
        chosen.append(rows[sharpness > SHARPNESS * sharpness.max()])
    rows = np.concatenate(chosen)
    if len(rows) < 37:
        raise DataError(f"{len(rows)} sharp blocks of {BLOCK}x{BLOCK}; NIQE's statistics need more")
    return _statistics(rows)


@configurable
def niqe(weights: str | os.PathLike[str] | None = None, color: Color = "gray") -> PerImage:
    """NIQE as a metric; needs pictures of 96 pixels a side.

    Args:
      weights: folder of metric weights.
      color: which luminance, see `luminance`.

    Raises:
      UnavailableError: if the statistics of pristine photographs are missing.
      ConfigError: if they were computed from another luminance.
    """
    if color not in typing.get_args(Color):
        raise ConfigError(f"niqe.color: no {color!r}; there are gray and y")
    path = find(FILE, weights)
    arrays = read_npz(path)
    shapes = {"mu_pris_param": (1, 36), "cov_pris_param": (36, 36)}
    check_arrays({n: a for n, a in arrays.items() if n in shapes}, shapes, path)
    if "color" in arrays and str(arrays["color"]) != color:
        raise ConfigError(f"{path}: has statistics of {arrays['color']}, but niqe.color is {color}")
    pristine = Pristine(arrays["mu_pris_param"].reshape(-1), arrays["cov_pris_param"])
    return PerImage(
        "niqe",
        "NIQE",
        3,
        lambda image, sharp: distance(image, pristine, color),
        min_side=BLOCK,
        reference=False,
        # Files that `deblur-weights make niqe` writes say of which colour; the published do not.
        about={
            "file": path.name,
            "sha256": sha256(path),
            "color": color,
            "own": "color" in arrays,
        },
    )
