"""Building blocks of Stable Diffusion's networks (Rombach et al., 2022).

A feature map is [B, H, W, C]. Each layer has the name that `diffusers` gives it, dots
included, so that a variable's path gives its key in a weight file (`deblur_tf.conversion.keys`).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from deblur_tf.base.registry import configurable
from deblur_tf.base.types import Shape, Tensor
from deblur_tf.networks import windows
from deblur_tf.networks.injections import conv
from deblur_tf.networks.layers import dense
from deblur_tf.networks.normalization import GroupNorm


def layer_norm(name: str) -> keras.layers.Layer:
    """Normalisation of each token, in float32."""
    return keras.layers.LayerNormalization(epsilon=1e-5, dtype="float32", name=name)


def halving_conv(filters: int, name: str, **kwargs: Any) -> keras.layers.Conv2D:
    """A 3x3 conv with stride 2; the caller pads its input, see `halve`."""
    return keras.layers.Conv2D(filters, 3, strides=2, padding="valid", name=name, **kwargs)


def halve(layer: keras.layers.Layer, x: Tensor, before: int) -> Tensor:
    """Applies a `halving_conv` to an image padded with zeros.

    The padding is 1 at bottom and right, and `before` at top and left: 1 in a UNet, 0 in an
    autoencoder.
    """
    return layer(ops.pad(x, ((0, 0), (before, 1), (before, 1), (0, 0))))


@configurable
class TimestepEmbedding(keras.layers.Layer):
    """Cosines and sines of the timestep, then two Dense layers with swish between.

    Input float32 [B], from 0 to 999; output float32 [B, features].
    """

    def __init__(self, channels: int, features: int, name: str = "time_embedding", **kwargs: Any):
        kwargs["dtype"] = "float32"
        super().__init__(name=name, **kwargs)
        self.channels = channels
        self.features = features
        self.linear_1 = dense(features, "linear_1", activation="swish", dtype="float32")
        self.linear_2 = dense(features, "linear_2", dtype="float32")

    def build(self, input_shape: Shape) -> None:
        self.linear_1.build((input_shape[0], self.channels))
        self.linear_2.build((input_shape[0], self.features))

    def call(self, timestep: Tensor) -> Tensor:
        half = self.channels // 2
        frequencies = np.exp(-np.log(10_000.0) * np.arange(half) / half).astype("float32")
        angles = ops.cast(timestep, "float32")[:, None] * ops.convert_to_tensor(frequencies)
        waves = ops.concatenate([ops.cos(angles), ops.sin(angles)], axis=-1)
        return self.linear_2(self.linear_1(waves))


@configurable
class NormalizedBlock(keras.layers.Layer):
    """GroupNorm, swish, conv 3x3, twice, plus the skip; a time embedding between.

    The second conv starts at zero, so that each block starts as its skip.

    Args:
      filters: channels of the output.
      groups: number of groups of the normalisation.
      use_embedding: whether a time embedding is added after the first conv.
      epsilon: epsilon of the normalisation; 1e-5 in the UNet, 1e-6 in the autoencoder.
    """

    def __init__(
        self,
        filters: int,
        groups: int = 32,
        use_embedding: bool = True,
        epsilon: float = 1e-5,
        name: str = "resnet",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        self.filters = filters
        self.groups = groups
        self.use_embedding = use_embedding
        self.epsilon = epsilon
        policy = self.dtype_policy
        self.norm1 = GroupNorm(groups, epsilon, "norm1")
        self.conv1 = conv(filters, 3, "conv1", dtype=policy)
        self.norm2 = GroupNorm(groups, epsilon, "norm2")
        self.conv2 = conv(filters, 3, "conv2", kernel_initializer="zeros", dtype=policy)
        self.embed = dense(filters, "time_emb_proj", dtype=policy) if use_embedding else None
        self.skip = None

    def build(self, inputs_shape: Shape, embedding_shape: Shape | None = None) -> None:
        inner = (*inputs_shape[:-1], self.filters)
        self.norm1.build(inputs_shape)
        self.conv1.build(inputs_shape)
        self.norm2.build(inner)
        self.conv2.build(inner)
        if self.embed is not None:
            self.embed.build(embedding_shape)
        if inputs_shape[-1] != self.filters:
            self.skip = conv(self.filters, 1, "conv_shortcut", dtype=self.dtype_policy)
            self.skip.build(inputs_shape)

    def call(self, inputs: Tensor, embedding: Tensor | None = None) -> Tensor:
        """[B, H, W, C], [B, E] -> [B, H, W, filters]."""
        h = self.conv1(ops.silu(self.norm1(inputs)))
        if self.embed is not None:
            h = h + self.embed(ops.silu(embedding))[:, None, None, :]
        h = self.conv2(ops.silu(self.norm2(h)))
        return h + (inputs if self.skip is None else self.skip(inputs))


@configurable
class Attention(keras.layers.Layer):
    """Scaled dot-product attention of tokens to a context (Vaswani et al., 2017).

    Args:
      heads: number of heads, among which the channels are divided.
      use_bias: whether queries, keys and values have a bias; the output always has one.
    """

    def __init__(self, heads: int, use_bias: bool = False, name: str = "attn", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.heads = heads
        self.use_bias = use_bias

    def build(self, inputs_shape: Shape, context_shape: Shape | None = None) -> None:
        width, policy = inputs_shape[-1], self.dtype_policy
        if width % self.heads:
            raise ValueError(f"{self.name}: {self.heads} heads cannot share {width} channels")
        context_shape = context_shape or inputs_shape
        self.to_q, self.to_k, self.to_v = (
            dense(width, name, use_bias=self.use_bias, dtype=policy)
            for name in ("to_q", "to_k", "to_v")
        )
        self.to_out = dense(width, "to_out.0", dtype=policy)
        self.to_q.build(inputs_shape)
        self.to_k.build(context_shape)
        self.to_v.build(context_shape)
        self.to_out.build(inputs_shape)

    def call(self, inputs: Tensor, context: Tensor | None = None) -> Tensor:
        """[B, N, C], [B, M, D] -> [B, N, C]; without a context tokens attend to each other."""
        context = inputs if context is None else context
        width = inputs.shape[-1]
        each = width // self.heads
        query, key, value = (
            ops.reshape(project(x), (ops.shape(x)[0], ops.shape(x)[1], self.heads, each))
            for project, x in ((self.to_q, inputs), (self.to_k, context), (self.to_v, context))
        )
        scores = ops.einsum("bnhc,bmhc->bhnm", query * each**-0.5, key)
        weights = ops.softmax(ops.cast(scores, "float32"), axis=-1)
        found = ops.einsum("bhnm,bmhc->bnhc", ops.cast(weights, value.dtype), value)
        return self.to_out(ops.reshape(found, (-1, ops.shape(inputs)[1], width)))


@configurable
class TransformerBlock(keras.layers.Layer):
    """Self-attention, attention to a context, and a gated network (GEGLU), all residual."""

    def __init__(self, heads: int, name: str = "transformer_blocks.0", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.heads = heads
        policy = self.dtype_policy
        self.norm1, self.norm2, self.norm3 = (layer_norm(f"norm{i}") for i in (1, 2, 3))
        self.attn1 = Attention(heads, name="attn1", dtype=policy)
        self.attn2 = Attention(heads, name="attn2", dtype=policy)

    def build(self, inputs_shape: Shape, context_shape: Shape) -> None:
        width, policy = inputs_shape[-1], self.dtype_policy
        for norm in (self.norm1, self.norm2, self.norm3):
            norm.build(inputs_shape)
        self.attn1.build(inputs_shape)
        self.attn2.build(inputs_shape, context_shape)
        self.gated = dense(8 * width, "ff.net.0.proj", dtype=policy)
        self.gated.build(inputs_shape)
        self.out = dense(width, "ff.net.2", dtype=policy)
        self.out.build((*inputs_shape[:-1], 4 * width))

    def call(self, inputs: Tensor, context: Tensor) -> Tensor:
        """[B, N, C], [B, M, D] -> [B, N, C]."""
        x = inputs + self.attn1(self.norm1(inputs))
        x = x + self.attn2(self.norm2(x), context)
        value, gate = ops.split(self.gated(self.norm3(x)), 2, axis=-1)
        return x + self.out(value * ops.gelu(gate, approximate=False))


@configurable
class SpatialTransformer(keras.layers.Layer):
    """A `TransformerBlock` over the pixels of a feature map, plus the skip.

    Args:
      heads: number of heads of the attention.
      groups: number of groups of the normalisation.
      window: side of the windows into which larger maps are cut, each transformed
        separately, see `windows.places`; None: all pixels of a map attend to each other.
    """

    def __init__(
        self,
        heads: int,
        groups: int = 32,
        window: int | None = None,
        name: str = "transformer",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        self.heads = heads
        self.groups = groups
        self.window = window
        self.norm = GroupNorm(groups, 1e-6, "norm")
        self.block = TransformerBlock(heads, dtype=self.dtype_policy)

    def build(self, inputs_shape: Shape, context_shape: Shape) -> None:
        width, policy = inputs_shape[-1], self.dtype_policy
        tokens = (None, None, width)
        self.norm.build(inputs_shape)
        self.proj_in = dense(width, "proj_in", dtype=policy)
        self.proj_in.build(tokens)
        self.block.build(tokens, context_shape)
        self.proj_out = dense(width, "proj_out", kernel_initializer="zeros", dtype=policy)
        self.proj_out.build(tokens)

    def call(self, inputs: Tensor, context: Tensor) -> Tensor:
        """[B, H, W, C], [B, M, D] -> [B, H, W, C]."""
        if self.window is None:
            return inputs + self._attend(inputs, context)
        height, width = ops.shape(inputs)[1:3]
        rows, columns = (windows.places(n, self.window) for n in (height, width))
        parts = windows.cut(inputs, rows, columns)
        context = ops.repeat(context, ops.shape(rows)[0] * ops.shape(columns)[0], axis=0)
        found = self._attend(parts, context)
        return inputs + windows.average(found, rows, columns, height, width)

    def _attend(self, x: Tensor, context: Tensor) -> Tensor:
        shape = ops.shape(x)
        tokens = ops.reshape(self.norm(x), (shape[0], shape[1] * shape[2], x.shape[-1]))
        found = self.proj_out(self.block(self.proj_in(tokens), context))
        return ops.reshape(found, shape)
