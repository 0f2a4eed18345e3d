"""Adversarial alignment of guidance features between two domains (icDPM app. B).

The paper reports it as a negative result: it did not help, and may hurt. Kept to
reproduce that; nothing else depends on it.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from deblur_tf.base.registry import configurable
from deblur_tf.base.types import Shape, Tensor
from deblur_tf.models.icdpm import GuidedDiffusion
from deblur_tf.networks.guidance import Guidance
from deblur_tf.networks.injections import conv


def reverse_gradient(x: Tensor) -> Tensor:
    """The identity, with its gradient negated (Ganin and Lempitsky, 2015).

    The layers after it learn to tell the domains apart, and the layers before it learn to
    prevent that, in one optimizer step.
    """
    return 2.0 * ops.stop_gradient(x) - x


@configurable
class Discriminator(keras.layers.Layer):
    """Predicts from which domain a guidance feature comes: one logit per image.

    Two convs with stride 2 and a 1x1 conv, averaged over all positions, so that
    any size works. The paper does not describe its own.
    """

    def __init__(self, channels: int = 64, name: str = "discriminator", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.channels = channels
        self.convs = [
            conv(channels * width, 4, f"conv_{i}", strides=2, dtype=self.dtype_policy)
            for i, width in enumerate((1, 2))
        ]
        self.logit = conv(1, 1, "logit", dtype="float32")

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[-1]
        for layer in self.convs:
            layer.build((None, None, None, channels))
            channels = layer.filters
        self.logit.build((None, None, None, channels))

    def call(self, feature: Tensor) -> Tensor:
        """[B, h, w, G] -> float32 [B]; positive for the second domain."""
        for layer in self.convs:
            feature = ops.leaky_relu(layer(feature), 0.2)
        return ops.mean(self.logit(feature), axis=(1, 2, 3))


@configurable
class AlignedDiffusion(GuidedDiffusion):
    """`GuidedDiffusion` with a discriminator on each guidance feature.

    Restoration does not use the discriminators; only `AlignedObjective` does.

    Args:
      discriminator_channels: width of the discriminators.
      kwargs: see `GuidedDiffusion`; `guidance` must be given.
    """

    def __init__(
        self, *args: Any, discriminator_channels: int = 64, name: str = "aligned", **kwargs: Any
    ):
        super().__init__(*args, name=name, **kwargs)
        if self.guidance is None:
            raise ValueError("AlignedDiffusion needs a guidance network")
        self.discriminator_channels = discriminator_channels
        self.discriminators = [
            Discriminator(discriminator_channels, name=f"discriminator_{k}", dtype="float32")
            for k in self.guidance_scales
        ]

    def build(self, input_shape: Shape = (None, None, None, 3)) -> None:
        """Creates all variables; `input_shape` is that of the blurry image."""
        super().build(input_shape)
        if self.guidance is None:
            raise ValueError("AlignedDiffusion aligns guidance, and this model has none")
        for discriminator in self.discriminators:
            discriminator.build((None, None, None, self.guidance.base_channels))

    def domain_logits(self, guidance: Guidance) -> tuple[Tensor, ...]:
        """The logits of each discriminator, float32 [B]; reverses gradients to the guidance."""
        return tuple(
            discriminator(reverse_gradient(ops.cast(feature, "float32")))
            for discriminator, feature in zip(self.discriminators, guidance.features, strict=True)
        )
