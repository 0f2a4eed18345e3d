"""Group normalisation (Wu and He, 2018)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from deblur_tf.base.types import Tensor


class GroupNorm(keras.layers.GroupNormalization):
    """Keras' layer for maps [B, H, W, C], in float32, with faster and more exact means.

    Keras takes moments over three axes of five, which on a CPU can take longer than a
    convolution of the map, and loses digits in large ones (docs/results.md, "Speed"). Here
    each channel is first averaged over its pixels; the mean of a group is then the mean of its
    few channel means.

    Args:
      groups: number of groups; must divide the number of channels.
      epsilon: added to the variance.
      kwargs: passed to Keras' layer, such as `center` and `scale`, both True by default.
    """

    def __init__(self, groups: int, epsilon: float = 1e-5, name: str = "norm", **kwargs: Any):
        kwargs["dtype"] = "float32"
        super().__init__(groups, epsilon=epsilon, name=name, **kwargs)

    def call(self, inputs: Tensor) -> Tensor:
        """[B, H, W, C] -> the same shape, float32."""
        shape = ops.shape(inputs)
        pixels = ops.cast(inputs, "float32")
        pixels = ops.reshape(pixels, (shape[0], shape[1] * shape[2], inputs.shape[-1]))
        centred = pixels - self._of_groups(ops.mean(pixels, axis=1))
        variance = self._of_groups(ops.mean(ops.square(centred), axis=1))
        factor = ops.rsqrt(variance + self.epsilon)
        if self.scale:
            factor = factor * self.gamma
        result = centred * factor
        if self.center:
            result = result + self.beta
        return ops.reshape(result, shape)

    def _of_groups(self, means: Tensor) -> Tensor:
        """Means of channels [B, C] -> for each channel the mean of its group, [B, 1, C]."""
        channels = means.shape[-1]
        split = ops.reshape(means, (-1, self.groups, channels // self.groups))
        return ops.repeat(ops.mean(split, axis=-1), channels // self.groups, axis=-1)[:, None]
