"""A guard against colour casts: blur and its removal leave low frequencies unchanged."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

# In pixels; well above the structures that a camera shake of 30 pixels changes.
GUARD_STDDEV = 32.0
_REDUCTION = 8


def low_frequencies(image: np.ndarray, stddev: float = GUARD_STDDEV) -> np.ndarray:
    """Gaussian smoothing, computed on an image of an eighth of the size.

    Args:
      image: float32 [H, W, C].
      stddev: standard deviation of the Gaussian in pixels.

    Returns:
      float32 [H, W, C].
    """
    height, width = image.shape[:2]
    factor = min(_REDUCTION, height, width)
    layers = []
    for i in range(image.shape[2]):
        small = np.asarray(Image.fromarray(image[..., i], "F").reduce(factor))
        smooth = ndimage.gaussian_filter(small, stddev / factor, mode="nearest")
        # A reduced image covers whole blocks, the last of which may be cut.
        box = (0.0, 0.0, width / factor, height / factor)
        layers.append(
            np.asarray(
                Image.fromarray(smooth, "F").resize((width, height), Image.Resampling.BILINEAR, box)
            )
        )
    return np.stack(layers, axis=-1)


def keep_low_frequencies(restored: np.ndarray, blurry: np.ndarray) -> np.ndarray:
    """`restored` with the low frequencies of `blurry`.

    float32 [H, W, 3] each, in the same range -> float32 [H, W, 3].
    """
    return restored + low_frequencies(blurry - restored)
