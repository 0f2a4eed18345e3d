"""Decides whether a photograph is sharp already, before a model processes it.

Blur weakens fine frequency bands more than coarse ones; noise adds to the finest alone. The
score is a logistic regression on the noise and the logarithms of the bands, fitted and measured
by `benchmarks/triage.py`, whose figures are in docs/results.md.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from deblur_tf.numerics.image_ops import LUMA

# Photographs with at least this score are left unchanged.
SHARP = 0.9
# A result is no sharper if the logarithms of both middle bands have grown by less than `HELPED`.
HELPED, MIDDLE = 0.02, slice(3, 5)

# Sides in pixels of box filters; a band is the difference of two successive ones.
_SIZES = (3, 5, 9, 17, 33)
_MEDIAN_OF_NORMAL = 0.6745  # of the absolute value of a standard normal number
_LARGEST = 1024  # side in pixels of the central part that is examined

# Means and standard deviations to standardise `features`; weights of the regression, then bias.
_MEANS = np.array([0.0108, -4.242, -4.727, -4.38, -3.967, -3.565])
_STDDEVS = np.array([0.01068, 0.8031, 0.6835, 0.6318, 0.5547, 0.4689])
_WEIGHTS = np.array([-2.927, 2.374, 1.636, 0.538, -0.3116, -1.263, -1.452])


def features(gray: np.ndarray) -> np.ndarray:
    """Standard deviation of the noise, and logarithm of the standard deviation of each band.

    Args:
      gray: float [H, W] in [0, 1], at least 5 pixels per side.

    Returns:
      float64 [6].
    """
    second = np.array([1.0, -2.0, 1.0])
    # Second differences in both directions leave little but noise (Immerkaer, 1996).
    fine = ndimage.convolve(gray, np.outer(second, second))
    noise = np.median(np.abs(fine)) / _MEDIAN_OF_NORMAL / 6.0
    means = [gray, *(ndimage.uniform_filter(gray, size) for size in _SIZES)]
    bands = [np.std(a - b) for a, b in zip(means, means[1:], strict=False)]
    return np.array([noise, *np.log(np.array(bands) + 1e-4)])


def gray_of(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] -> float32 [H, W] in [0, 1]; only the centre of large images."""
    height, width = image.shape[:2]
    top, left = (max(n - _LARGEST, 0) // 2 for n in (height, width))
    middle = image[top : top + _LARGEST, left : left + _LARGEST]
    return middle.astype(np.float32) @ np.array(LUMA, np.float32) / 255.0


def sharpness(image: np.ndarray) -> float | None:
    """Probability that a picture is sharp: from 0, surely blurred, to 1, surely sharp.

    uint8 [H, W, 3] -> the probability, assuming that sharp and blurred pictures are equally
    frequent; None for pictures that are too small to tell.
    """
    if min(image.shape[:2]) < 2 * _SIZES[-1]:
        return None
    scaled = (features(gray_of(image)) - _MEANS) / _STDDEVS
    return float(1.0 / (1.0 + np.exp(-(scaled @ _WEIGHTS[:-1] + _WEIGHTS[-1]))))


def growth(before: np.ndarray, after: np.ndarray) -> float | None:
    """How much stronger the middle bands of a restored picture are than the blurry one's.

    `sharpness` is unsuitable: it falls when noise is removed, since noise adds to the finest
    bands, and it hardly changes for strongly blurred pictures however much they improve.

    uint8 [H, W, 3] each -> the larger growth of the logarithms of the bands from 5 to 9 and from
    9 to 17 pixels; None for pictures that are too small to tell.
    """
    if min(before.shape[:2]) < 2 * _SIZES[-1]:
        return None
    was, now = (features(gray_of(image))[MIDDLE] for image in (before, after))
    return float(np.max(now - was))


def helped(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether a restored picture is sharper than the blurry one; True if too small to tell."""
    grown = growth(before, after)
    return grown is None or grown >= HELPED
