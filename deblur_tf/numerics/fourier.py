"""Two-dimensional Fourier transforms, as such or as products with matrices.

Converters of graphs to other formats, such as ONNX, do not know the transform, but they do know
products. Those take longer, 2 (H + W) multiplications per value in place of about 5 log(H W).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
from keras import ops

from deblur_tf.base.types import ComplexParts, Tensor

_state = {"products": False}


@contextlib.contextmanager
def as_products() -> Iterator[None]:
    """In this context the transforms are computed as products; sizes must be known then."""
    before, _state["products"] = _state["products"], True
    try:
        yield
    finally:
        _state["products"] = before


def fft2(x: ComplexParts) -> ComplexParts:
    """The transform over the last two axes; real and imaginary part, [..., H, W] each."""
    return _by_products(x, -1.0) if _state["products"] else ops.fft2(x)


def ifft2(x: ComplexParts) -> ComplexParts:
    """The inverse of `fft2`."""
    if not _state["products"]:
        return ops.ifft2(x)
    scale = 1.0 / (x[0].shape[-1] * x[0].shape[-2])
    real, imaginary = _by_products(x, 1.0)
    return real * scale, imaginary * scale


def _by_products(x: ComplexParts, sign: float) -> ComplexParts:
    """Multiplies rows and columns with exp(sign 2 pi i j k / n)."""
    rows, columns = (_waves(int(x[0].shape[axis]), sign) for axis in (-2, -1))
    x = _product(x, columns)
    x = _product((_swapped(x[0]), _swapped(x[1])), rows)
    return _swapped(x[0]), _swapped(x[1])


def _product(x: ComplexParts, waves: ComplexParts) -> ComplexParts:
    (a, b), (c, d) = x, waves
    return (
        ops.matmul(a, c) - ops.matmul(b, d),
        ops.matmul(a, d) + ops.matmul(b, c),
    )


def _swapped(x: Tensor) -> Tensor:
    return ops.swapaxes(x, -2, -1)


def _waves(count: int, sign: float) -> ComplexParts:
    """Real and imaginary part of exp(sign 2 pi i j k / count): float32 [count, count]."""
    step = np.arange(count)
    angle = 2.0 * np.pi * (step[:, None] * step % count) / count
    parts = np.cos(angle), sign * np.sin(angle)
    return tuple(ops.convert_to_tensor(part.astype("float32")) for part in parts)
