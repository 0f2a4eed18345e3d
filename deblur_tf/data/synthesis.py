"""Blurry/sharp pairs from whole sharp photographs."""

from __future__ import annotations

import numpy as np

from deblur_tf.data import blur
from deblur_tf.errors import DataError

MARGIN = (blur.MAX_SUPPORT - 1) // 2


def shaken(
    photo: np.ndarray, rng: np.random.Generator, source: str
) -> tuple[np.ndarray, np.ndarray]:
    """A photo under random camera shake and noise (DvSR app. C).

    The outer 15 pixels are cut off, since what lies beyond the border is
    not known.

    Args:
      photo: uint8 [H, W, 3], sharp.
      rng: source of randomness.
      source: names the photo in errors.

    Returns:
      blurry and sharp, uint8 [H - 30, W - 30, 3].

    Raises:
      DataError: if nothing would be left.
    """
    if min(photo.shape[:2]) <= 2 * MARGIN:
        raise DataError(f"{source}: smaller than {2 * MARGIN + 1} pixels")
    return blur.degrade(photo, rng), photo[MARGIN:-MARGIN, MARGIN:-MARGIN]
