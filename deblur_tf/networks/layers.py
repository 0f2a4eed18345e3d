"""Building blocks of the networks (DvSR sec. 4.2 and app. E).

A feature map is [B, H, W, C]. Blocks have no normalisation, no attention and
no positional encoding, so that networks made of them accept any image size.
Each layer has a `build`, so variables exist, named by their path, before any
data is seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from deblur_tf.base.registry import configurable
from deblur_tf.base.types import Shape, Tensor
from deblur_tf.networks import injections
from deblur_tf.networks.initializers import GlorotUniform
from deblur_tf.networks.injections import conv
from deblur_tf.numerics import image_ops

POLICIES = ("float32", "mixed_bfloat16")


def check_policy(layer: keras.layers.Layer) -> None:
    """Refuses policies in which a deep network without normalisation overflows.

    Raises:
      ValueError: if the policy is not one of `POLICIES`.
    """
    if layer.dtype_policy.name not in POLICIES:
        raise ValueError(
            f"{layer.name}: dtype must be one of {', '.join(POLICIES)}, got "
            f"{layer.dtype_policy.name!r}"
        )


def dense(features: int, name: str, **kwargs: Any) -> keras.layers.Dense:
    """A linear map of the last axis."""
    kwargs.setdefault("kernel_initializer", GlorotUniform())
    return keras.layers.Dense(features, name=name, **kwargs)


@configurable
class NoiseLevelEmbedding(keras.layers.Layer):
    """Fourier features of the noise level, then two Dense layers with swish.

    The angular frequencies are geometric from 1 to `max_frequency`: training
    noise levels lie as close to 1 as 1 - 5e-7, where only high frequencies
    tell them apart. Always float32, since bfloat16 has eight bits.

    Input float32 [B] in (0, 1]; output float32 [B, features].
    """

    def __init__(
        self,
        features: int,
        num_frequencies: int = 32,
        max_frequency: float = 5000.0,
        name: str = "noise_level_embedding",
        **kwargs: Any,
    ):
        kwargs["dtype"] = "float32"
        super().__init__(name=name, **kwargs)
        self.features = features
        self.num_frequencies = num_frequencies
        self.max_frequency = max_frequency
        self.dense_1 = dense(features, "dense_1", activation="swish", dtype="float32")
        self.dense_2 = dense(features, "dense_2", activation="swish", dtype="float32")

    def build(self, input_shape: Shape) -> None:
        self.dense_1.build((input_shape[0], 2 * self.num_frequencies))
        self.dense_2.build((input_shape[0], self.features))

    def call(self, noise_level: Tensor) -> Tensor:
        frequencies = np.geomspace(1.0, self.max_frequency, self.num_frequencies)
        angles = noise_level[:, None] * ops.convert_to_tensor(frequencies.astype("float32"))
        waves = ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)
        return self.dense_2(self.dense_1(waves))


@configurable
class ResidualBlock(keras.layers.Layer):
    """swish, conv 3x3, swish, conv 3x3, plus the skip (BigGAN style).

    `resample` halves ("down", 2x2 average) or doubles ("up", nearest) the
    resolution, before the convolutions and on the skip. The skip is a 1x1 conv
    where the width changes, otherwise the identity. The noise-level embedding
    enters through a Dense added after the first conv.

    The second conv starts at zero, so that each block starts as its skip: with
    no normalisation, this keeps the scale of features through the depth of the
    network. The sum is therefore not divided by sqrt(2).
    """

    def __init__(
        self,
        filters: int,
        resample: str | None = None,
        use_embedding: bool = True,
        name: str = "residual_block",
        **kwargs: Any,
    ):
        if resample not in (None, "down", "up"):
            raise ValueError(f"resample must be None, 'down' or 'up', got {resample!r}")
        super().__init__(name=name, **kwargs)
        self.filters = filters
        self.resample = resample
        self.use_embedding = use_embedding
        policy = self.dtype_policy
        self.conv_1 = conv(filters, 3, "conv_1", dtype=policy)
        self.conv_2 = conv(filters, 3, "conv_2", kernel_initializer="zeros", dtype=policy)
        self.embed = dense(filters, "embed", dtype=policy) if use_embedding else None
        self.skip = None

    def build(self, inputs_shape: Shape, embedding_shape: Shape | None = None) -> None:
        batch, height, width, channels = inputs_shape
        self.conv_1.build(inputs_shape)
        self.conv_2.build((batch, height, width, self.filters))
        if self.embed is not None:
            if embedding_shape is None:
                raise ValueError(f"{self.name}: uses an embedding, so its shape is needed")
            self.embed.build(embedding_shape)
        if channels != self.filters:
            self.skip = conv(self.filters, 1, "skip", dtype=self.dtype_policy)
            self.skip.build(inputs_shape)

    def call(self, inputs: Tensor, embedding: Tensor | None = None) -> Tensor:
        """[B, H, W, C], [B, E] -> [B, H', W', filters]."""
        return self._residual(inputs, embedding, None)

    def _residual(
        self,
        x: Tensor,
        embedding: Tensor | None,
        inject: Callable[[Tensor], Tensor] | None,
    ) -> Tensor:
        h = ops.silu(x)
        if self.resample == "down":
            h, x = image_ops.downsample(h, 2), image_ops.downsample(x, 2)
        elif self.resample == "up":
            h, x = image_ops.upsample_nearest(h), image_ops.upsample_nearest(x)

        h = self.conv_1(h)
        if self.embed is not None:
            h = h + self.embed(embedding)[:, None, None, :]
        if inject is not None:
            h = inject(h)
        h = self.conv_2(ops.silu(h))

        return h + (x if self.skip is None else self.skip(x))


@configurable
class GuidedResidualBlock(ResidualBlock):
    """Residual block into which a guidance feature enters (icDPM sec. 3.2).

    "adding the extracted representation to the feature map at the respective
    scale ... as an extra bias": the feature enters after the first conv,
    through an injection (see `deblur_tf.networks.injections`); in the paper by addition.
    """

    def __init__(
        self,
        filters: int,
        injection: str = "add",
        use_embedding: bool = True,
        name: str = "guided_residual_block",
        **kwargs: Any,
    ):
        kwargs.pop("resample", None)
        super().__init__(filters, None, use_embedding, name=name, **kwargs)
        self.injection = injection
        self.inject = injections.make(injection, filters, self.dtype_policy)

    def build(
        self,
        inputs_shape: Shape,
        guidance_shape: Shape,
        embedding_shape: Shape | None = None,
    ) -> None:
        super().build(inputs_shape, embedding_shape)
        self.inject.build((None, None, None, self.filters), guidance_shape)

    def call(self, inputs: Tensor, guidance: Tensor, embedding: Tensor | None = None) -> Tensor:
        """[B, H, W, C], [B, H, W, G], [B, E] -> [B, H, W, filters]."""
        return self._residual(inputs, embedding, lambda h: self.inject(h, guidance))
