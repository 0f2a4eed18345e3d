"""PSNR and SSIM as the deblurring tables define them, on 8-bit RGB images."""

from __future__ import annotations

import numpy as np
import skimage.metrics
from scipy import ndimage

from deblur_tf.metrics.base import PerImage


def _check(a: np.ndarray, b: np.ndarray) -> None:
    for image in (a, b):
        if image.dtype != np.uint8 or image.ndim != 3:
            raise ValueError(f"need uint8 [H, W, C] images, got {image.dtype} {image.shape}")
    if a.shape != b.shape:
        raise ValueError(f"images differ in shape: {a.shape} and {b.shape}")


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, one MSE over all pixels and channels.

    uint8 [H, W, C] each, peak 255, no border crop; infinite for equal images.
    """
    _check(a, b)
    mse = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float("inf") if mse == 0 else float(10 * np.log10(255.0**2 / mse))


def ssim_matlab(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM as MATLAB's `ssim` computes it on an RGB volume: the papers' figure.

    An 11x11x11 Gaussian window (sigma 1.5) over height, width and channels,
    replicate padding, K1 = 0.01, K2 = 0.03, population moments, mean over all.
    For blur it reads 0.03 to 0.09 higher than 2-D SSIM. uint8 [H, W, C] each.
    """
    _check(a, b)
    a, b = a.astype(np.float64), b.astype(np.float64)
    x = np.arange(-5, 6)
    window = np.exp(-(x**2) / (2 * 1.5**2))
    window /= window.sum()

    def smooth(volume: np.ndarray) -> np.ndarray:
        for axis in range(3):
            volume = ndimage.correlate1d(volume, window, axis=axis, mode="nearest")
        return volume

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = smooth(a), smooth(b)
    var_a = smooth(a * a) - mean_a**2
    var_b = smooth(b * b) - mean_b**2
    cov = smooth(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * cov + c2) / (var_a + var_b + c2)
    return float(np.mean(luminance * structure))


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM of Wang et al. per channel, as scikit-image computes it, mean.

    Gaussian window of sigma 1.5 (11 taps), population moments, border of 5 px
    left out. uint8 [H, W, C] each, at least 11x11.
    """
    _check(a, b)
    return float(
        skimage.metrics.structural_similarity(
            a,
            b,
            data_range=255,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


PSNR = PerImage("psnr", "PSNR (dB)", 2, psnr)
SSIM = PerImage("ssim", "SSIM", 4, ssim, min_side=11)
SSIM_MATLAB = PerImage("ssim_matlab", "SSIM (MATLAB 3-D)", 4, ssim_matlab)
