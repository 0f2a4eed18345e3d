"""Gives a restored image the colours of the blurry one.

A latent diffusion model shifts colours; blur hardly does.
"""

from __future__ import annotations

from collections.abc import Callable

from keras import ops

from deblur_tf.base.types import Tensor

LEVELS = 5


def wavelet(image: Tensor, reference: Tensor) -> Tensor:
    """The fine bands of `image` plus the coarse band of `reference`.

    The coarse band is what is left after five smoothings by (1, 2, 1) / 4 with 1, 2, 4, 8 and 16
    pixels between the taps (the "a trous" wavelet). Both and the result: float32 [B, H, W, 3].
    """
    return image + _coarse(reference - image)


def _coarse(image: Tensor) -> Tensor:
    for level in range(LEVELS):
        for axis in (1, 2):
            size = ops.shape(image)[axis]
            here = ops.arange(size, dtype="int32")
            before, after = (
                ops.take(image, ops.clip(here + step, 0, size - 1), axis=axis)
                for step in (-(2**level), 2**level)
            )
            image = 0.5 * image + 0.25 * (before + after)
    return image


def adain(image: Tensor, reference: Tensor, epsilon: float = 1e-5) -> Tensor:
    """`image` with the mean and standard deviation of each channel of `reference`.

    Adaptive instance normalisation (Huang and Belongie, 2017). It copies the contrast too,
    which blur has lowered. Both and the result: float32 [B, H, W, 3].
    """
    mean, spread = _moments(image, epsilon)
    wanted_mean, wanted_spread = _moments(reference, epsilon)
    return (image - mean) / spread * wanted_spread + wanted_mean


def _moments(image: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (divided by n - 1): [B, 1, 1, 3] each."""
    mean = ops.mean(image, axis=(1, 2), keepdims=True)
    count = ops.cast(ops.shape(image)[1] * ops.shape(image)[2], "float32")
    variance = ops.mean(ops.square(image - mean), axis=(1, 2), keepdims=True)
    return mean, ops.sqrt(variance * count / ops.maximum(count - 1.0, 1.0) + epsilon)


FIXES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"wavelet": wavelet, "adain": adain}
