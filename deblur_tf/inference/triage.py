"""Whether a photograph is sharp already, before a model touches it.

Blur takes fine bands more than coarse ones, noise adds to the finest alone. The score is a
logistic regression on the logarithms of both, fitted and measured by
`benchmarks/triage.py`, whose figures are in docs/results.md.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from deblur_tf.numerics.image_ops import LUMA

# From this score on a photograph is left alone.
SHARP = 0.9
# A result in which neither of two middle bands has grown by this, of its logarithm, did not help.
HELPED, MIDDLE = 0.02, slice(3, 5)

# Sides in pixels of the box means between which the bands lie.
_SIZES = (3, 5, 9, 17, 33)
_MEDIAN_OF_NORMAL = 0.6745  # of the absolute value of a standard normal number
_LARGEST = 1024  # pixels a side that are looked at, in the middle

# Of `features`, standardised: means, standard deviations; then weights and bias.
_MEANS = np.array([0.0108, -4.242, -4.727, -4.38, -3.967, -3.565])
_STDDEVS = np.array([0.01068, 0.8031, 0.6835, 0.6318, 0.5547, 0.4689])
_WEIGHTS = np.array([-2.927, 2.374, 1.636, 0.538, -0.3116, -1.263, -1.452])


def features(gray: np.ndarray) -> np.ndarray:
    """The noise's standard deviation, and the logarithm of that of each band.

    Args:
      gray: float [H, W] in [0, 1], 5 pixels a side at least.

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
    """uint8 [H, W, 3] -> float32 [H, W] in [0, 1], of the middle of large ones."""
    height, width = image.shape[:2]
    top, left = (max(n - _LARGEST, 0) // 2 for n in (height, width))
    middle = image[top : top + _LARGEST, left : left + _LARGEST]
    return middle.astype(np.float32) @ np.array(LUMA, np.float32) / 255.0


def sharpness(image: np.ndarray) -> float | None:
    """From 0, surely blurred, to 1, surely sharp.

    uint8 [H, W, 3] -> the probability, where sharp and blurred ones are equally frequent;
    None for pictures that are too small to tell.
    """
    if min(image.shape[:2]) < 2 * _SIZES[-1]:
        return None
    scaled = (features(gray_of(image)) - _MEANS) / _STDDEVS
    return float(1.0 / (1.0 + np.exp(-(scaled @ _WEIGHTS[:-1] + _WEIGHTS[-1]))))


def growth(before: np.ndarray, after: np.ndarray) -> float | None:
    """By how much a restored picture has more in its middle bands than the blurry one.

    `sharpness` would not do: it falls where noise goes, which is in the finest bands too, and
    hardly changes for strongly blurred pictures however much they gain.

    uint8 [H, W, 3] each -> the larger growth of the logarithms of the bands from 5 to 9 and from
    9 to 17 pixels; None for pictures that are too small to tell.
    """
    if min(before.shape[:2]) < 2 * _SIZES[-1]:
        return None
    was, now = (features(gray_of(image))[MIDDLE] for image in (before, after))
    return float(np.max(now - was))


def helped(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether a restored picture is sharper than the blurry one; True where nobody can tell."""
    grown = growth(before, after)
    return grown is None or grown >= HELPED
