"""A guard against colour casts: blur and its removal leave low frequencies alone."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

# Well above what a shake of 30 pixels moves, in pixels.
GUARD_STDDEV = 32.0
_REDUCTION = 8


def low_frequencies(image: np.ndarray, stddev: float = GUARD_STDDEV) -> np.ndarray:
    """Gaussian smoothing, on an image of an eighth of the size.

    Args:
      image: float32 [H, W, C].
      stddev: of the Gaussian, in pixels.

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

    float32 [H, W, 3] twice, in one range -> float32 [H, W, 3].
    """
    return restored + low_frequencies(blurry - restored)
