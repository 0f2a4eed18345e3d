"""Stable Diffusion's UNet of latents (Rombach et al., 2022), and the encoder it shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from deblur_tf.base.registry import configurable
from deblur_tf.base.types import Shape, Tensor
from deblur_tf.networks.injections import conv
from deblur_tf.networks.latent_layers import (
    NormalizedBlock,
    SpatialTransformer,
    TimestepEmbedding,
    halve,
    halving_conv,
)
from deblur_tf.networks.layers import check_policy
from deblur_tf.networks.normalization import GroupNorm
from deblur_tf.numerics import image_ops


class Encoded(NamedTuple):
    """Result of `LatentEncoder.encoded`.

    Attributes:
      skips: the output of each of its steps, fine to coarse.
      middle: the feature map of the lowest resolution, after the middle.
      embedding: embedding of the timestep, [B, 4 base_channels].
    """

    skips: tuple[Tensor, ...]
    middle: Tensor
    embedding: Tensor


class LatentEncoder(keras.Model):
    """The encoder and the middle of a `LatentUNet`.

    A depth consists of `num_res_blocks` residual blocks, each followed by a transformer if the
    depth is in `attention_depths`; between depths a convolution halves the size. The middle is
    a block, a transformer and a block.

    Args:
      base_channels: width of the first depth.
      channel_multipliers: width of each depth over `base_channels`.
      num_res_blocks: residual blocks per depth.
      attention_depths: depths with transformers.
      head_width: channels per attention head.
      groups: number of groups of the normalisations.
      context_shape: (M, D) of the context that transformers attend to.
      window: side of the transformers' windows at full size, halved from depth to depth if
        `halve_window`; None: they attend to the whole map.
      halve_window: see `window`.
      dtype: policy of the body, e.g. "mixed_bfloat16"; normalisation, embedding and the
        output conv are float32 always.
    """

    def __init__(
        self,
        base_channels: int = 320,
        channel_multipliers: Sequence[int] = (1, 2, 4, 4),
        num_res_blocks: int = 2,
        attention_depths: Sequence[int] = (0, 1, 2),
        head_width: int = 64,
        groups: int = 32,
        context_shape: Sequence[int] = (77, 1024),
        window: int | None = None,
        halve_window: bool = True,
        name: str = "latent_encoder",
        **kwargs: Any,
    ):
        kwargs["autocast"] = False  # it would round the timestep to bfloat16
        super().__init__(name=name, **kwargs)
        check_policy(self)
        self.base_channels = base_channels
        self.channel_multipliers = tuple(channel_multipliers)
        self.num_res_blocks = num_res_blocks
        self.attention_depths = tuple(attention_depths)
        self.head_width = head_width
        self.groups = groups
        self.context_shape = tuple(context_shape)
        self.window = window
        self.halve_window = halve_window
        self.widths = [base_channels * m for m in self.channel_multipliers]
        policy, last = self.dtype_policy, len(self.widths) - 1

        self.time_embedding = TimestepEmbedding(base_channels, 4 * base_channels)
        self.conv_in = conv(base_channels, 3, "conv_in", dtype=policy)
        self.down: list[list[keras.layers.Layer]] = []  # the layers of each step
        for depth, width in enumerate(self.widths):
            for i in range(num_res_blocks):
                self.down.append(self.step("down_blocks", depth, i, depth))
            if depth < last:
                name = f"down_blocks.{depth}.downsamplers.0.conv"
                self.down.append([halving_conv(width, name, dtype=policy)])
        first, transformer = self.step("mid_block", None, 0, last, attend=True)
        second, *_ = self.step("mid_block", None, 1, last, attend=False)
        self.mid = [first, transformer, second]

    @property
    def size_multiple(self) -> int:
        """Heights and widths must be multiples of this."""
        return 2 ** (len(self.widths) - 1)

    def step(
        self, where: str, number: int | None, i: int, depth: int, attend: bool | None = None
    ) -> list[keras.layers.Layer]:
        """A residual block of a depth, and the transformer after it, if any."""
        prefix = where if number is None else f"{where}.{number}"
        width = self.widths[depth]
        common = {"groups": self.groups, "dtype": self.dtype_policy}
        layers = [NormalizedBlock(width, name=f"{prefix}.resnets.{i}", **common)]
        if depth in self.attention_depths if attend is None else attend:
            if width % self.head_width:
                raise ValueError(
                    f"head_width {self.head_width} does not divide the {width} channels of {prefix}"
                )
            window = self.window and max(self.window >> (depth if self.halve_window else 0), 1)
            heads = width // self.head_width
            name = f"{prefix}.attentions.{i}"
            layers.append(SpatialTransformer(heads, window=window, name=name, **common))
        return layers

    def run(
        self, layers: Sequence[keras.layers.Layer], x: Tensor, embedding: Tensor, context: Tensor
    ) -> Tensor:
        """Applies the layers of a step, one after the other."""
        for layer in layers:
            if isinstance(layer, NormalizedBlock):
                x = layer(x, embedding)
            elif isinstance(layer, SpatialTransformer):
                x = layer(x, context)
            else:
                x = halve(layer, x, before=1)
        return x

    def build_step(self, layers: Sequence[keras.layers.Layer], channels: int) -> int:
        """Creates the variables of a step for `channels` inputs; returns its number of outputs."""
        embedding = (None, 4 * self.base_channels)
        for layer in layers:
            shape = (None, None, None, channels)
            if isinstance(layer, NormalizedBlock):
                layer.build(shape, embedding)
            elif isinstance(layer, SpatialTransformer):
                layer.build(shape, (None, *self.context_shape))
            else:
                layer.build(shape)
            channels = getattr(layer, "filters", channels)
        return channels

    def build(self, input_shape: Shape) -> None:
        """Creates all variables."""
        self.time_embedding.build((None,))
        self.conv_in.build(input_shape)
        channels = self.base_channels
        for layers in self.down:
            channels = self.build_step(layers, channels)
        self.build_step(self.mid, channels)

    @property
    def skip_channels(self) -> list[int]:
        """Channels of each of `Encoded.skips`."""
        counts = [self.base_channels]
        return counts + [layers[0].filters for layers in self.down]

    def encoded(self, x: Tensor, timestep: Tensor, context: Tensor) -> Encoded:
        """Runs encoder and middle, see `Encoded`; arguments as for `LatentUNet.call`."""
        context = ops.broadcast_to(context, (ops.shape(x)[0], *self.context_shape))
        embedding = self.time_embedding(timestep)
        skips = [self.conv_in(x)]
        for layers in self.down:
            skips.append(self.run(layers, skips[-1], embedding, context))
        return Encoded(tuple(skips), self.run(self.mid, skips[-1], embedding, context), embedding)


@configurable
class LatentUNet(LatentEncoder):
    """UNet of latents with attention to a context (Stable Diffusion 2.1's by default).

    Args:
      out_channels: channels of the output.
      zero_out: whether the output conv starts at zero.
      kwargs: see `LatentEncoder`.
    """

    def __init__(
        self, out_channels: int = 4, zero_out: bool = True, name: str = "latent_unet", **kwargs: Any
    ):
        super().__init__(name=name, **kwargs)
        self.out_channels = out_channels
        self.zero_out = zero_out
        policy, last = self.dtype_policy, len(self.widths) - 1
        self.up: list[list[keras.layers.Layer]] = []
        self.doubling: list[keras.layers.Layer | None] = []  # after each step of `up`
        for number, depth in enumerate(reversed(range(last + 1))):
            for i in range(self.num_res_blocks + 1):
                self.up.append(self.step("up_blocks", number, i, depth))
                ends = i == self.num_res_blocks and number < last
                name = f"up_blocks.{number}.upsamplers.0.conv"
                self.doubling.append(
                    conv(self.widths[depth], 3, name, dtype=policy) if ends else None
                )
        self.norm_out = GroupNorm(self.groups, name="conv_norm_out")
        start = {"kernel_initializer": "zeros"} if zero_out else {}
        self.conv_out = conv(out_channels, 3, "conv_out", dtype="float32", **start)

    def build(self, input_shape: Shape) -> None:
        """Creates all variables."""
        super().build(input_shape)
        waiting, channels = self.skip_channels, self.widths[-1]
        for layers, double in zip(self.up, self.doubling, strict=True):
            channels = self.build_step(layers, channels + waiting.pop())
            if double is not None:
                double.build((None, None, None, channels))
        self.norm_out.build((None, None, None, channels))
        self.conv_out.build((None, None, None, channels))

    def call(
        self,
        x: Tensor,
        timestep: Tensor,
        context: Tensor,
        control: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Runs the network.

        Args:
          x: float32 [B, h, w, C], h and w multiples of `size_multiple`.
          timestep: [B], 0 to 999.
          context: float32 [1 or B, M, D].
          control: added to each skip and to the middle, see `ControlBranch`.

        Returns:
          float32 [B, h, w, out_channels].
        """
        skips, h, embedding = self.encoded(x, timestep, context)
        context = ops.broadcast_to(context, (ops.shape(x)[0], *self.context_shape))
        if control is not None:
            *additions, middle = control
            skips = [skip + more for skip, more in zip(skips, additions, strict=True)]
            h = h + middle
        waiting = list(skips)
        for layers, double in zip(self.up, self.doubling, strict=True):
            h = self.run(layers, ops.concatenate([h, waiting.pop()], -1), embedding, context)
            if double is not None:
                h = double(image_ops.upsample_nearest(h))
        return self.conv_out(ops.silu(self.norm_out(h)))
