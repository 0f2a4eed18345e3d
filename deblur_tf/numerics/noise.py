"""Counter-based noise: the same numbers on every backend, device and batch.

A draw is a pure function of a key and of a pixel's absolute position, computed
with 32-bit integer hashing in `keras.ops`. There is no generator state, so a
checkpoint needs only the step number, replicas and restarts agree, and a
picture does not depend on the batch it was restored in. The hash is the
`lowbias32` integer finaliser, applied in keyed rounds; it is not
cryptographically secure.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from deblur_tf.base.types import Tensor

_GOLDEN = 0x9E3779B9  # 2**32 / golden ratio: spreads small counters
MAX_SIDE = 1 << 16  # a pixel's position is packed as row << 16 | column


def _u32(value: Any) -> Tensor:
    if isinstance(value, int):
        return ops.convert_to_tensor(np.uint32(value & 0xFFFFFFFF))
    return ops.cast(value, "uint32")


def _mix(x: Tensor) -> Tensor:
    """A bijection of 32-bit integers with low bias (`lowbias32`)."""
    x = ops.bitwise_xor(x, ops.right_shift(x, _u32(16))) * _u32(0x7FEB352D)
    x = ops.bitwise_xor(x, ops.right_shift(x, _u32(15))) * _u32(0x846CA68B)
    return ops.bitwise_xor(x, ops.right_shift(x, _u32(16)))


def make_key(seed: int | Tensor) -> Tensor:
    """A key, uint32 [..., 2], from all 64 bits of a seed.

    The seed is a Python integer, an int64 tensor, or a non-negative int32
    tensor; equal values give equal keys.
    """
    if isinstance(seed, int):
        high: Any = seed >> 32
    elif keras.backend.standardize_dtype(seed.dtype) == "int64":
        high = ops.right_shift(seed, ops.cast(32, "int64"))
    else:
        high = 0
    low = _u32(seed)
    return fold_in(ops.stack([low, ops.broadcast_to(_u32(high), ops.shape(low))], axis=-1), 0)


def fold_in(key: Tensor, data: int | Tensor) -> Tensor:
    """A new key, independent of `key`, for each integer in `data`.

    Args:
      key: uint32 [..., 2].
      data: integer or integer tensor that broadcasts against key[..., 0].

    Returns:
      uint32 [..., 2].
    """
    a, b = key[..., 0], key[..., 1]
    a = _mix(ops.bitwise_xor(a, _mix(_u32(data) * _u32(_GOLDEN) + b)))
    b = _mix(ops.bitwise_xor(b + _u32(_GOLDEN), a))
    return ops.stack([a, b], axis=-1)


def _unit(bits: Tensor) -> Tensor:
    """uint32 to float32 strictly inside (0, 1)."""
    return (ops.cast(ops.right_shift(bits, _u32(9)), "float32") + 0.5) * 2.0**-23


def uniform(keys: Tensor) -> Tensor:
    """One draw from U(0, 1) per key: uint32 [B, 2] -> float32 [B]."""
    return _unit(_mix(ops.bitwise_xor(_mix(keys[..., 0]), keys[..., 1])))


def normal(
    keys: Tensor,
    height: Tensor,
    width: Tensor,
    channels: int,
    origin: tuple[Tensor, Tensor] = (0, 0),
) -> Tensor:
    """Standard normal noise keyed by pixel position (Box-Muller).

    Args:
      keys: uint32 [B, 2], one key per image.
      height, width: size in pixels, at most `MAX_SIDE`; integers or scalars.
      channels: number of channels.
      origin: row and column of the first pixel, where this is a part of a larger image.

    Returns:
      float32 [B, height, width, channels]. A larger size extends the noise of
      a smaller one: normal(k, 9, 9, c)[:, 2:5, 2:5] is normal(k, 3, 3, c, (2, 2)), up to
      the last bit of the floating-point functions.
    """
    rows = _u32(ops.arange(height, dtype="int32") + origin[0])[:, None]
    columns = _u32(ops.arange(width, dtype="int32") + origin[1])[None, :]
    position = (rows * _u32(MAX_SIDE) + columns)[None, :, :, None]
    lanes = np.arange(1, channels + 1, dtype=np.uint32) * np.uint32(_GOLDEN)
    lanes = ops.convert_to_tensor(lanes)
    # Not keys[:, 0, None, None, None]: TensorFlow's graph optimiser (2.21) puts
    # the new axes in the wrong place where a slice undoes a stack.
    first, second = (ops.reshape(keys[:, i], (-1, 1, 1, 1)) for i in (0, 1))
    pixel = _mix(ops.bitwise_xor(position, first))
    bits = _mix(ops.bitwise_xor(pixel + lanes, second))
    radius = ops.sqrt(-2.0 * ops.log(_unit(bits)))
    angle = (2.0 * math.pi) * _unit(_mix(bits + _u32(_GOLDEN)))
    return radius * ops.cos(angle)
