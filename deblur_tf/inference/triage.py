"""Decides whether a photograph is sharp already, before a model processes it.

Blur weakens fine frequency bands more than coarse ones, and widens edges; noise adds to the finest
band alone. Text, drawings and lights at night have far stronger edges than other pictures, so the
same bands mean something else there. The score is a logistic regression on `features` and their
products, fitted and measured by `benchmarks/triage.py`, whose figures are in docs/results.md.
"""

from __future__ import annotations

import functools
import json
from importlib import resources

import numpy as np
from scipy import ndimage

from deblur_tf.numerics.image_ops import LUMA

# Photographs with at least this score are left unchanged.
SHARP = 0.8
# A result is no sharper if the logarithms of both middle bands have grown by less than `HELPED`.
HELPED, MIDDLE = 0.02, slice(2, 4)

FILE = "triage.json"  # means and standard deviations of `features`, weights of `expanded`

# Sides in pixels of box filters; a band is the difference of two successive ones.
_SIZES = (3, 5, 9, 17, 33)
_MEDIAN_OF_NORMAL = 0.6745  # of the absolute value of a standard normal number
_LARGEST = 1024  # side in pixels of the central part that is examined
# Standard deviations of the Gaussians whose gradients are compared, in pixels.
_FINE, _COARSE = 0.7, 2.5
_STRONGEST = 0.97  # quantile of the gradients that count as edges
_DIRECTIONS = 4


def features(gray: np.ndarray) -> np.ndarray:
    """What the score is computed from.

    Args:
      gray: float [H, W] in [0, 1], at least 5 pixels per side.

    Returns:
      float64 [13]: standard deviation of the noise, `bands`, `edges`, `concentration`.
    """
    second = np.array([1.0, -2.0, 1.0])
    # Second differences in both directions leave little but noise (Immerkaer, 1996).
    fine = ndimage.convolve(gray, np.outer(second, second))
    noise = np.median(np.abs(fine)) / _MEDIAN_OF_NORMAL / 6.0
    return np.r_[noise, bands(gray), edges(gray), concentration(gray)]


def bands(gray: np.ndarray) -> np.ndarray:
    """Logarithm of the standard deviation of each of five frequency bands, fine to coarse.

    Args:
      gray: float [H, W] in [0, 1].

    Returns:
      float64 [5].
    """
    means = [gray, *(ndimage.uniform_filter(gray, size) for size in _SIZES)]
    stddevs = [np.std(a - b) for a, b in zip(means, means[1:], strict=False)]
    return np.log(np.array(stddevs) + 1e-4)


def edges(gray: np.ndarray) -> np.ndarray:
    """How narrow the strongest edges are, in the direction where they are widest and on average.

    Motion widens the edges across its direction and leaves those along it as they are. The measure
    does not depend on contrast: it is the logarithm of the ratio of the gradients at two scales.

    Args:
      gray: float [H, W] in [0, 1].

    Returns:
      float64 [2].
    """
    fine, coarse = (
        [np.gradient(ndimage.gaussian_filter(gray, stddev), axis=axis) for axis in (1, 0)]
        for stddev in (_FINE, _COARSE)
    )
    strength, nearby = np.hypot(*coarse), ndimage.maximum_filter(np.hypot(*fine), 5)
    angle = np.mod(np.arctan2(coarse[1], coarse[0]), np.pi)
    direction = np.floor(angle * _DIRECTIONS / np.pi + 0.5).astype(int) % _DIRECTIONS
    found = []
    for own in (direction == i for i in range(_DIRECTIONS)):
        if own.sum() < 50:
            continue
        strong = own & (strength >= max(np.quantile(strength[own], _STRONGEST), 1e-3))
        if strong.any():
            found.append(np.log(np.median(nearby[strong]) / np.median(strength[strong])))
    return np.array([min(found), np.mean(found)]) if found else np.zeros(2)


def concentration(gray: np.ndarray) -> np.ndarray:
    """What tells text, drawings and lights from other pictures.

    Args:
      gray: float [H, W] in [0, 1].

    Returns:
      float64 [5]: of the finest two bands the share of pixels where they are weak, the logarithm of
      their kurtosis, and at last the share of their energy in the strongest 5 % of pixels; before
      it the shares of pixels that are nearly black and nearly white.
    """
    fine = gray - ndimage.uniform_filter(gray, 5)
    stddev = fine.std() + 1e-4
    energy = np.sort(np.square(fine), axis=None)[::-1]
    return np.array(
        [
            np.mean(np.abs(fine) < 0.1 * stddev),
            np.log(np.mean(np.square(np.square(fine / stddev))) + 1e-6),
            np.mean(gray < 0.08),
            np.mean(gray > 0.97),
            energy[: len(energy) // 20].sum() / (energy.sum() + 1e-12),
        ]
    )


def gray_of(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] -> float32 [H, W] in [0, 1]; only the centre of large images."""
    height, width = image.shape[:2]
    top, left = (max(n - _LARGEST, 0) // 2 for n in (height, width))
    middle = image[top : top + _LARGEST, left : left + _LARGEST]
    return middle.astype(np.float32) @ np.array(LUMA, np.float32) / 255.0


def expanded(standardised: np.ndarray) -> np.ndarray:
    """Features, their products and a constant: [N, 13] -> [N, 105]."""
    i, j = np.triu_indices(standardised.shape[1])
    products = standardised[:, i] * standardised[:, j]
    return np.concatenate([standardised, products, np.ones((len(standardised), 1))], axis=1)


@functools.cache
def _fitted() -> dict[str, np.ndarray]:
    text = (resources.files("deblur_tf.inference") / FILE).read_text("utf-8")
    return {name: np.array(values) for name, values in json.loads(text).items()}


def score(rows: np.ndarray) -> np.ndarray:
    """Probabilities that pictures are sharp, from their features: [N, 13] -> [N]."""
    known = _fitted()
    standardised = np.clip((rows - known["means"]) / known["stddevs"], -6.0, 6.0)
    return 1.0 / (1.0 + np.exp(-(expanded(standardised) @ known["weights"])))


def sharpness(image: np.ndarray) -> float | None:
    """Probability that a picture is sharp: from 0, surely blurred, to 1, surely sharp.

    uint8 [H, W, 3] -> the probability, assuming that sharp and blurred pictures are equally
    frequent; None for pictures that are too small to tell.
    """
    if min(image.shape[:2]) < 2 * _SIZES[-1]:
        return None
    return float(score(features(gray_of(image))[None])[0])


def growth(before: np.ndarray, after: np.ndarray) -> float | None:
    """How much stronger the middle bands of a restored picture are than the blurry one's.

    `sharpness` is unsuitable: it falls when noise is removed, since noise adds to the finest
    bands, and it hardly changes for strongly blurred pictures however much they improve.

    uint8 [H, W, 3] each -> the larger growth of the logarithms of the bands from 5 to 9 and from
    9 to 17 pixels; None for pictures that are too small to tell.
    """
    if min(before.shape[:2]) < 2 * _SIZES[-1]:
        return None
    was, now = (bands(gray_of(image))[MIDDLE] for image in (before, after))
    return float(np.max(now - was))


def helped(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether a restored picture is sharper than the blurry one; True if too small to tell."""
    grown = growth(before, after)
    return grown is None or grown >= HELPED
