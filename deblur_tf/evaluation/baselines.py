"""Baselines that a model must beat."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from deblur_tf.metrics.psnr import psnr


def best_smoothing(blurry: np.ndarray, sharp: np.ndarray) -> np.ndarray:
    """The Gaussian smoothing of `blurry` that comes nearest to `sharp`.

    Standard deviations of 0, then from half a pixel on in steps of a factor of sqrt(2), are
    tried until PSNR falls. It uses the sharp image, so it is a baseline, not a method: a
    model that gains less has not learned its task.

    uint8 [H, W, 3] twice -> uint8 [H, W, 3].
    """
    best, score = blurry, psnr(blurry, sharp)
    for exponent in range(12):
        sigma = 0.5 * 2 ** (exponent / 2)
        smooth = ndimage.gaussian_filter(blurry.astype(np.float32), (sigma, sigma, 0))
        smooth = np.round(smooth).astype(np.uint8)
        if (found := psnr(smooth, sharp)) <= score:
            break
        best, score = smooth, found
    return best
