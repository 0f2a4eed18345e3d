"""Overlapping windows of a feature map, and the mean of what is found in them.

Sizes may be numbers or tensors; a map is [B, H, W, C].
"""

from __future__ import annotations

import numpy as np
from keras import ops

from deblur_tf.types import Tensor


def places(size: Tensor | int, side: int) -> Tensor | np.ndarray:
    """Where the pixels of windows along an axis lie: int32 [count, min(side, size)].

    As few windows as cover the axis, as far apart as they can be without a gap; the last one
    ends where the axis does. DeblurDiff's released code lays them so.
    """
    xp = np if isinstance(size, int) else ops
    side = xp.minimum(side, size)
    gaps = (size - 1) // side
    apart = -((side - size) // xp.maximum(gaps, 1))
    starts = xp.minimum(xp.arange(gaps + 1, dtype="int32") * apart, size - side)
    found = starts[:, None] + xp.arange(side, dtype="int32")
    return found.astype("int32") if xp is np else found


def cut(image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """[B, H, W, C] -> [B * len(rows) * len(columns), h, w, C], an image's windows in a row."""
    (tall, height), (wide, width) = ops.shape(rows), ops.shape(columns)
    channels = image.shape[-1]
    image = ops.take(image, ops.reshape(rows, (-1,)), axis=1)
    image = ops.take(image, ops.reshape(columns, (-1,)), axis=2)
    image = ops.reshape(image, (-1, tall, height, wide, width, channels))
    image = ops.transpose(image, (0, 1, 3, 2, 4, 5))
    return ops.reshape(image, (-1, height, width, channels))


def average(parts: Tensor, rows: Tensor, columns: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """The inverse of `cut`: [B, height, width, C], the mean where windows overlap."""
    (tall, high), (wide, broad) = ops.shape(rows), ops.shape(columns)
    parts = ops.reshape(parts, (-1, tall, wide, high, broad, parts.shape[-1]))
    parts = ops.transpose(parts, (0, 1, 3, 2, 4, 5))
    parts = ops.reshape(parts, (-1, tall * high, wide * broad, parts.shape[-1]))
    down, across = _shares(rows, height, parts.dtype), _shares(columns, width, parts.dtype)
    return ops.einsum("bijc,hi,wj->bhwc", parts, down, across)


def _shares(at: Tensor, size: Tensor, dtype: str) -> Tensor:
    """What each window's pixel counts at each place: [size, pixels], rows that add up to 1."""
    here = ops.reshape(at, (1, -1)) == ops.arange(size, dtype="int32")[:, None]
    here = ops.cast(here, dtype)
    return here / ops.sum(here, axis=1, keepdims=True)
