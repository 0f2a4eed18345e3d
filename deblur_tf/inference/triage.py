"""Whether a photograph is sharp already, before a model touches it.

Blur takes fine bands more than coarse ones, noise adds to the finest alone. The score is a
logistic regression on the logarithms of both, fitted and measured by
`benchmarks/triage.py`, whose figures are in docs/results.md.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from deblur_tf.image_ops import LUMA

# From this score on a photograph is left alone.
SHARP = 0.9
# A result whose log-odds of being sharp have not grown by this did not help.
HELPED = 0.1

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


def log_odds(image: np.ndarray) -> float | None:
    """The logarithm of the odds that a photograph is sharp and not blurred.

    uint8 [H, W, 3] -> a number that grows with sharpness without a limit, where sharp and
    blurred photographs are equally frequent; None for pictures that are too small to tell.
    """
    if min(image.shape[:2]) < 2 * _SIZES[-1]:
        return None
    scaled = (features(gray_of(image)) - _MEANS) / _STDDEVS
    return float(scaled @ _WEIGHTS[:-1] + _WEIGHTS[-1])


def sharpness(image: np.ndarray) -> float | None:
    """`log_odds` as a probability: from 0, surely blurred, to 1, surely sharp."""
    odds = log_odds(image)
    return None if odds is None else float(1.0 / (1.0 + np.exp(-odds)))


def helped(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether a restored picture is sharper than the blurry one; True where nobody can tell.

    uint8 [H, W, 3] each. Probabilities would not do: those of a strongly blurred picture hardly
    change, however much it gains.
    """
    odds = log_odds(before), log_odds(after)
    return None in odds or odds[1] - odds[0] >= HELPED
