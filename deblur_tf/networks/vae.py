"""The autoencoder of Stable Diffusion: images to latents and back (Rombach et al., 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from deblur_tf.base.registry import configurable
from deblur_tf.base.types import Shape, Tensor
from deblur_tf.networks.injections import conv
from deblur_tf.networks.latent_layers import (
    Attention,
    NormalizedBlock,
    halve,
    halving_conv,
)
from deblur_tf.networks.normalization import GroupNorm
from deblur_tf.numerics import image_ops

EPSILON = 1e-6
# Bounds of the logarithm of the posterior's variance.
LOG_VARIANCE = (-30.0, 20.0)


@configurable
class PixelAttention(Attention):
    """GroupNorm and self-attention of all pixels with one head, plus the skip."""

    def __init__(self, groups: int = 32, name: str = "attention", **kwargs: Any):
        super().__init__(heads=1, use_bias=True, name=name, **kwargs)
        self.groups = groups
        self.norm = GroupNorm(groups, EPSILON, "group_norm")

    def build(self, inputs_shape: Shape) -> None:
        super().build((None, None, inputs_shape[-1]))
        self.norm.build(inputs_shape)

    def call(self, inputs: Tensor) -> Tensor:
        """[B, H, W, C] -> the same shape."""
        shape = ops.shape(inputs)
        tokens = ops.reshape(self.norm(inputs), (shape[0], shape[1] * shape[2], inputs.shape[-1]))
        return inputs + ops.reshape(super().call(tokens), shape)


class _Chain(keras.layers.Layer):
    """A sequence of residual blocks, with changes of size between them."""

    def __init__(self, groups: int, name: str):
        super().__init__(name=name, dtype="float32")
        self.groups = groups
        self.steps: list[tuple[str, keras.layers.Layer]] = []

    def block(self, filters: int, name: str) -> None:
        """Adds a residual block."""
        block = NormalizedBlock(filters, self.groups, False, EPSILON, name, dtype="float32")
        self.steps.append(("", block))

    def middle(self, filters: int) -> None:
        """Adds a block, attention and a block."""
        self.block(filters, "mid_block.resnets.0")
        attention = PixelAttention(self.groups, name="mid_block.attentions.0", dtype="float32")
        self.steps.append(("", attention))
        self.block(filters, "mid_block.resnets.1")

    def build(self, input_shape: Shape) -> None:
        """Creates the variables."""
        for _, layer in self.steps:
            layer.build(input_shape)
            channels = getattr(layer, "filters", input_shape[-1])
            input_shape = (None, None, None, channels)

    def call(self, x: Tensor) -> Tensor:
        """All steps, one after the other."""
        for how, layer in self.steps:
            if how == "halve":
                x = halve(layer, x, before=0)
            else:
                x = layer(image_ops.upsample_nearest(x) if how == "double" else x)
        return x

    def ends(self, filters: int, first: bool) -> None:
        """Adds the first conv, or the final normalisation, swish and conv."""
        if first:
            self.steps.append(("", conv(filters, 3, "conv_in", dtype="float32")))
            return
        self.steps.append(("", GroupNorm(self.groups, EPSILON, "conv_norm_out")))
        self.steps.append(("", keras.layers.Activation("swish", dtype="float32")))
        self.steps.append(("", conv(filters, 3, "conv_out", dtype="float32")))


@configurable
class AutoencoderKL(keras.Model):
    """Image to a Gaussian of latents, and latents to an image.

    Always float32: the rounding of bfloat16 would be visible in the image.

    Args:
      channels: width of each depth, fine to coarse; each but the first halves the size.
      num_res_blocks: residual blocks per depth of the encoder; the decoder has one more.
      latent_channels: channels of the latent.
      groups: number of groups of the normalisations.
      scale: factor by which latents are multiplied so that their variance is about 1.
    """

    def __init__(
        self,
        channels: Sequence[int] = (128, 256, 512, 512),
        num_res_blocks: int = 2,
        latent_channels: int = 4,
        groups: int = 32,
        scale: float = 0.18215,
        name: str = "vae",
        **kwargs: Any,
    ):
        kwargs["dtype"] = "float32"
        super().__init__(name=name, **kwargs)
        self.channels = tuple(channels)
        self.num_res_blocks = num_res_blocks
        self.latent_channels = latent_channels
        self.groups = groups
        self.scale = scale

        last = len(self.channels) - 1
        encoder = self.encoder = _Chain(groups, "encoder")
        encoder.ends(self.channels[0], first=True)
        for depth, width in enumerate(self.channels):
            for i in range(num_res_blocks):
                encoder.block(width, f"down_blocks.{depth}.resnets.{i}")
            if depth < last:
                name = f"down_blocks.{depth}.downsamplers.0.conv"
                encoder.steps.append(("halve", halving_conv(width, name, dtype="float32")))
        encoder.middle(self.channels[-1])
        encoder.ends(2 * latent_channels, first=False)

        decoder = self.decoder = _Chain(groups, "decoder")
        decoder.ends(self.channels[-1], first=True)
        decoder.middle(self.channels[-1])
        for depth, width in enumerate(reversed(self.channels)):
            for i in range(num_res_blocks + 1):
                decoder.block(width, f"up_blocks.{depth}.resnets.{i}")
            if depth < last:
                name = f"up_blocks.{depth}.upsamplers.0.conv"
                decoder.steps.append(("double", conv(width, 3, name, dtype="float32")))
        decoder.ends(3, first=False)

        self.quant_conv = conv(2 * latent_channels, 1, "quant_conv", dtype="float32")
        self.post_quant_conv = conv(latent_channels, 1, "post_quant_conv", dtype="float32")

    @property
    def factor(self) -> int:
        """Pixels of an image per pixel of its latent, along each side."""
        return 2 ** (len(self.channels) - 1)

    def build(self, input_shape: Shape = (None, None, None, 3)) -> None:
        """Creates all variables; `input_shape` is that of an image."""
        moments = (None, None, None, 2 * self.latent_channels)
        latent = (None, None, None, self.latent_channels)
        self.encoder.build(input_shape)
        self.quant_conv.build(moments)
        self.post_quant_conv.build(latent)
        self.decoder.build(latent)

    def moments(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the posterior, before scaling.

        float32 [B, H, W, 3] in [-1, 1], H and W multiples of `factor`, ->
        [B, H / factor, W / factor, latent_channels] each.
        """
        mean, log_variance = ops.split(self.quant_conv(self.encoder(image)), 2, axis=-1)
        return mean, ops.clip(log_variance, *LOG_VARIANCE)

    def encode(self, image: Tensor) -> Tensor:
        """The posterior's mean, scaled: float32 [B, H, W, 3] -> [B, H / f, W / f, 4]."""
        return self.scale * self.moments(image)[0]

    def decode(self, latent: Tensor) -> Tensor:
        """The image of a scaled latent: [B, h, w, 4] -> float32 [B, f h, f w, 3], about [-1, 1]."""
        return self.decoder(self.post_quant_conv(latent / self.scale))

    def call(self, image: Tensor) -> Tensor:
        """Encodes and decodes an image: [B, H, W, 3] -> the same shape."""
        return self.decode(self.encode(image))
