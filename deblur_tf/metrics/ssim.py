"""SSIM (Wang et al., 2004) in the two forms of the deblurring tables, on 8-bit images.

Both smooth by a Gaussian of sigma 1.5 in 11 taps along height and width; MATLAB's, given
an RGB volume, smooths over the channels as well, and is 0.03 to 0.09 higher for blurred images.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from deblur_tf.metrics.base import PerImage, check, shared

RADIUS = 5
_WINDOW = np.exp(-(np.arange(-RADIUS, RADIUS + 1) ** 2) / (2 * 1.5**2))
_WINDOW /= _WINDOW.sum()
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

Moments = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _smooth(volume: np.ndarray) -> np.ndarray:
    for axis in range(2):
        volume = ndimage.correlate1d(volume, _WINDOW, axis=axis, mode="nearest")
    return volume


def moments(a: np.ndarray, b: np.ndarray) -> Moments:
    """Local means of a, b, a^2 + b^2 and a b, float64 [H, W, C] each, edges replicated."""
    check(a, b)
    a, b = a.astype(np.float64), b.astype(np.float64)
    return _smooth(a), _smooth(b), _smooth(a * a + b * b), _smooth(a * b)


def ssim_map(found: Moments) -> np.ndarray:
    """Eq. 13 of Wang et al. with population moments: float64 [H, W, C]."""
    mean_a, mean_b, squares, product = found
    both, sum_of_squares = mean_a * mean_b, mean_a**2 + mean_b**2
    luminance = (2 * both + _C1) / (sum_of_squares + _C1)
    return luminance * (2 * (product - both) + _C2) / (squares - sum_of_squares + _C2)


def _matlab(found: Moments) -> float:
    channels = found[0].shape[-1]
    over_channels = ndimage.correlate1d(np.eye(channels), _WINDOW, axis=0, mode="nearest").T
    mean_a, mean_b, squares, product = (volume @ over_channels for volume in found)
    return float(np.mean(ssim_map((mean_a, mean_b, squares, product))))


def _plain(found: Moments) -> float:
    return float(np.mean(ssim_map(found)[RADIUS:-RADIUS, RADIUS:-RADIUS]))


def ssim_matlab(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM as MATLAB's `ssim` computes it on an RGB volume, as in the papers.

    An 11x11x11 window, replicate padding, mean over pixels and channels. uint8 [H, W, C] each.
    """
    return _matlab(moments(a, b))


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM of each channel as scikit-image computes it, averaged over channels.

    A border of 5 pixels is left out. uint8 [H, W, C] each, at least 11x11.
    """
    return _plain(moments(a, b))


_moments = shared(moments)
SSIM = PerImage("ssim", "SSIM", 4, lambda a, b: _plain(_moments(a, b)), min_side=2 * RADIUS + 1)
SSIM_MATLAB = PerImage("ssim_matlab", "SSIM (MATLAB 3-D)", 4, lambda a, b: _matlab(_moments(a, b)))
