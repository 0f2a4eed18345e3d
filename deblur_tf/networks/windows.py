"""Overlapping windows of a map or an image, and the average of results over them.

Sizes may be numbers or tensors; a map is [B, H, W, C]. `cut` and `average` use as few windows as
cover a map and weight all pixels equally; `split` and `blend` use windows that overlap by half, for
what changes smoothly over an image, such as its blur, with weights that fall linearly from a
window's centre to its edges.
"""

from __future__ import annotations

import numpy as np
from keras import ops

from deblur_tf.base.types import Tensor


def places(size: Tensor | int, side: int) -> Tensor | np.ndarray:
    """Indices of the pixels of windows along an axis: int32 [count, min(side, size)].

    As few windows as cover the axis, as far apart as they can be without a gap; the last one
    ends where the axis does. DeblurDiff's released code places them the same way.
    """
    xp = np if isinstance(size, int) else ops
    side = xp.minimum(side, size)
    gaps = (size - 1) // side
    apart = -((side - size) // xp.maximum(gaps, 1))
    starts = xp.minimum(xp.arange(gaps + 1, dtype="int32") * apart, size - side)
    found = starts[:, None] + xp.arange(side, dtype="int32")
    return found.astype("int32") if xp is np else found


def cut(image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """[B, H, W, C] -> [B * len(rows) * len(columns), h, w, C], each image's windows in sequence."""
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
    """Weight of each window's pixel at each position: [size, pixels]; each row adds up to 1."""
    here = ops.reshape(at, (1, -1)) == ops.arange(size, dtype="int32")[:, None]
    here = ops.cast(here, dtype)
    return here / ops.sum(here, axis=1, keepdims=True)


def split(image: Tensor, side: int) -> Tensor:
    """The windows of an image, half a side apart.

    Args:
      image: [B, H, W, C]; H and W multiples of side / 2, and at least `side`.
      side: side of the windows in pixels, even.

    Returns:
      [B, 2 H / side - 1, 2 W / side - 1, side, side, C].
    """
    half = side // 2
    shape = ops.shape(image)
    squares = (-1, shape[1] // half, half, shape[2] // half, half, image.shape[3])
    image = ops.reshape(image, squares)
    tall = ops.concatenate([image[:, :-1], image[:, 1:]], axis=2)
    windows = ops.concatenate([tall[:, :, :, :-1], tall[:, :, :, 1:]], axis=4)
    return ops.transpose(windows, (0, 1, 3, 2, 4, 5))


def blend(windows: Tensor) -> Tensor:
    """The image whose pixels are weighted means over `split` windows.

    [B, m, n, side, side, C] -> [B, (m + 1) side / 2, (n + 1) side / 2, C]; at the edges of
    the image, pixels that lie in only one window are taken from it unchanged.
    """
    side = windows.shape[3]
    place = np.arange(side) + 0.5
    weight = np.minimum(place, side - place).astype("float32") / (side // 2)
    weight = ops.convert_to_tensor((weight[:, None] * weight)[:, :, None])
    total = _added(windows * weight)
    return total / _added(ops.ones_like(windows[:1, ..., :1]) * weight)


def _added(windows: Tensor) -> Tensor:
    """The sum of all windows, each at its position (overlap-add)."""
    half = windows.shape[3] // 2
    none, last, first = (0, 0), (0, 1), (1, 0)
    tall = ops.pad(windows[:, :, :, :half], [none, last, *[none] * 4])
    tall = tall + ops.pad(windows[:, :, :, half:], [none, first, *[none] * 4])
    parts = ops.pad(tall[..., :half, :], [none, none, last, *[none] * 3])
    parts = parts + ops.pad(tall[..., half:, :], [none, none, first, *[none] * 3])
    shape = ops.shape(parts)
    parts = ops.transpose(parts, (0, 1, 3, 2, 4, 5))
    return ops.reshape(parts, (-1, shape[1] * half, shape[2] * half, windows.shape[5]))
