"""PSNR as the deblurring tables define it."""

from __future__ import annotations

import numpy as np

from deblur_tf.metrics.base import PerImage, check


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, one MSE over all pixels and channels.

    uint8 [H, W, C] each, peak 255, no border crop; infinite for equal images.
    """
    check(a, b)
    mse = np.mean(np.square(a.astype(np.float64) - b))
    return float("inf") if mse == 0 else float(10 * np.log10(255.0**2 / mse))


PSNR = PerImage("psnr", "PSNR (dB)", 2, psnr)
