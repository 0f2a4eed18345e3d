"""The UNet of DvSR and icDPM (DvSR sec. 4.2, app. E; block plan in the README)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops

from deblur_tf.base.registry import configurable
from deblur_tf.base.types import Shape, Tensor
from deblur_tf.networks.layers import (
    GuidedResidualBlock,
    NoiseLevelEmbedding,
    ResidualBlock,
    check_policy,
    conv,
)
from deblur_tf.networks.network import Network
from deblur_tf.numerics import image_ops


@configurable
class UNet(keras.Model, Network):
    """Fully convolutional UNet of residual blocks.

    Input conv; then, per depth: `num_res_blocks` residual blocks, each output a
    skip, and between depths one block that halves the resolution, a skip too.
    Two blocks in the middle. Then, per depth: `num_res_blocks + 1` blocks, each
    concatenating the latest unused skip, and between depths one block that
    doubles the resolution. Last, swish and a zero-initialised output conv.

    Args:
      base_channels: width at full resolution ("ch" in the papers).
      channel_multipliers: width of each depth over `base_channels`.
      num_res_blocks: residual blocks per depth in the encoder; 3 in the papers.
      num_middle_blocks: residual blocks at the lowest resolution; 2.
      out_channels: channels of the output image.
      use_noise_level: embed a noise level and add it in each block. Without
        it this is the regression network of DvSR Table 4.
      guided_depths: depths of the encoder whose blocks take a guidance
        feature; depth k is at 1/2^k of the size divided by `patch`. (1, 2, 3) in the paper.
      injection: how the guidance feature enters, see `deblur_tf.networks.injections`.
      patch: side of the squares of pixels that become channels on entry, and pixels
        again at the end; a power of 2. 1 in the papers; with 2 nothing is computed at
        full resolution, which is what costs most on a CPU.
      dtype: policy of the body, e.g. "mixed_bfloat16"; the embedding and the
        output conv are float32 always.
    """

    def __init__(
        self,
        base_channels: int = 32,
        channel_multipliers: Sequence[int] = (1, 2, 3, 4),
        num_res_blocks: int = 3,
        num_middle_blocks: int = 2,
        out_channels: int = 3,
        use_noise_level: bool = True,
        guided_depths: Sequence[int] = (),
        injection: str = "add",
        patch: int = 1,
        name: str = "unet",
        **kwargs: Any,
    ):
        # Inputs are cast where each layer wants them: a cast on entry would
        # round the noise level to bfloat16.
        kwargs["autocast"] = False
        super().__init__(name=name, **kwargs)
        check_policy(self)
        self.base_channels = base_channels
        self.channel_multipliers = tuple(channel_multipliers)
        self.num_res_blocks = num_res_blocks
        self.num_middle_blocks = num_middle_blocks
        self.out_channels = out_channels
        self.use_noise_level = use_noise_level
        self.guided_depths = tuple(guided_depths)
        self.injection = injection
        self.patch = patch
        self._build_config: dict[str, Any] | None = None
        if not set(self.guided_depths) <= set(range(len(self.channel_multipliers))):
            raise ValueError(
                f"guided_depths {self.guided_depths} are not all depths of a UNet with "
                f"{len(self.channel_multipliers)} depths"
            )

        if patch < 1 or patch & (patch - 1):
            raise ValueError(f"patch must be a power of 2, got {patch}")

        widths = [base_channels * m for m in self.channel_multipliers]
        last = len(widths) - 1
        common = {"use_embedding": use_noise_level, "dtype": self.dtype_policy}
        self.embedding = NoiseLevelEmbedding(4 * base_channels) if use_noise_level else None
        self.conv_in = conv(base_channels, 3, "conv_in", dtype=self.dtype_policy)

        def block(name: str, width: int, resample: str | None = None) -> ResidualBlock:
            return ResidualBlock(width, resample, name=name, **common)

        def guided_block(name: str, width: int) -> GuidedResidualBlock:
            return GuidedResidualBlock(width, injection, name=name, **common)

        # Blocks in the order in which they run. Each of the encoder is followed by a skip; of the
        # decoder, those that do not double the resolution take one.
        self.encoder: list[ResidualBlock] = []
        for depth, width in enumerate(widths):
            make = guided_block if depth in self.guided_depths else block
            self.encoder += [make(f"encoder_{depth}_{i}", width) for i in range(num_res_blocks)]
            if depth < last:
                self.encoder.append(block(f"down_{depth}", width, "down"))
        self.middle = [block(f"middle_{i}", widths[-1]) for i in range(num_middle_blocks)]
        decoder: list[ResidualBlock] = []
        for depth, width in enumerate(widths):
            blocks = [block(f"decoder_{depth}_{i}", width) for i in range(num_res_blocks + 1)]
            if depth > 0:
                blocks.append(block(f"up_{depth}", width, "up"))
            decoder = blocks + decoder  # from the lowest resolution up
        self.decoder = decoder
        self.conv_out = conv(
            patch * patch * out_channels,
            3,
            "conv_out",
            kernel_initializer="zeros",
            dtype="float32",
        )

    @property
    def size_multiple(self) -> int:
        """Heights and widths must be multiples of this."""
        return self.patch * 2 ** (len(self.channel_multipliers) - 1)

    @property
    def floats_per_pixel(self) -> float:
        """See `Network`: all skips of the encoder, and the input, output and intermediate maps of a
        decoder block at the highest resolution.
        """
        widths = [self.base_channels * m for m in self.channel_multipliers]
        skips = sum((self.num_res_blocks + 1) * w / 4**d for d, w in enumerate(widths))
        return (skips + 6 * widths[0]) / self.patch**2

    @property
    def guided_scales(self) -> tuple[int, ...]:
        """Scale k of each guidance feature used, at 1/2^k of the image's size."""
        return tuple(depth + self.patch.bit_length() - 1 for depth in self.guided_depths)

    def build(
        self,
        inputs_shape: Shape,
        noise_level_shape: Shape | None = None,
        guidance_shape: Sequence[Shape] = (),
    ) -> None:
        """Creates the variables.

        Args:
          inputs_shape: (B, H, W, C); only C need be known.
          noise_level_shape: not needed.
          guidance_shape: shapes of the guidance features, in the order of
            `guided_depths`; only the channels need be known.

        Raises:
          ValueError: if there is not one guidance feature for each of `guided_depths`.
        """
        del noise_level_shape
        if len(guidance_shape) != len(self.guided_depths):
            raise ValueError(
                f"UNet(guided_depths={self.guided_depths}) needs {len(self.guided_depths)} "
                f"guidance features, got {len(guidance_shape)}"
            )
        self._build_config = {
            "inputs_shape": tuple(inputs_shape),
            "guidance_shape": tuple(map(tuple, guidance_shape)),
        }

        def at(channels: int) -> Shape:
            return (None, None, None, channels)

        embedding_shape: Shape | None = None
        if self.embedding is not None:
            self.embedding.build((None,))
            embedding_shape = (None, self.embedding.features)
        self.conv_in.build(at(inputs_shape[-1] * self.patch * self.patch))

        channels = self.base_channels
        skips = [channels]
        for block, feature in self._with_guidance(guidance_shape):
            shapes: dict[str, Any] = {"embedding_shape": embedding_shape}
            if feature is not None:
                shapes["guidance_shape"] = feature
            block.build(at(channels), **shapes)
            channels = block.filters
            skips.append(channels)
        for block in self.middle:
            block.build(at(channels), embedding_shape)
        for block in self.decoder:
            more = skips.pop() if block.resample is None else 0
            block.build(at(channels + more), embedding_shape)
            channels = block.filters
        self.conv_out.build(at(channels))

    def call(
        self,
        inputs: Tensor,
        noise_level: Tensor | None = None,
        guidance: Sequence[Tensor] = (),
    ) -> Tensor:
        """Runs the network.

        Args:
          inputs: [B, H, W, C], H and W multiples of `size_multiple`.
          noise_level: float32 [B] in (0, 1]; None without an embedding.
          guidance: one [B, H / 2^k, W / 2^k, G] for each k of `guided_scales`.

        Returns:
          float32 [B, H, W, out_channels].
        """
        embedding = None if self.embedding is None else self.embedding(noise_level)

        h = self.conv_in(image_ops.space_to_depth(inputs, self.patch))
        skips = [h]
        for block, feature in self._with_guidance(guidance):
            h = block(h, *(() if feature is None else (feature,)), embedding=embedding)
            skips.append(h)

        for block in self.middle:
            h = block(h, embedding=embedding)

        for block in self.decoder:
            if block.resample is None:
                h = ops.concatenate([h, skips.pop()], -1)
            h = block(h, embedding=embedding)

        return image_ops.depth_to_space(self.conv_out(ops.silu(h)), self.patch)

    def _with_guidance(self, features: Sequence[Any]) -> Iterator[tuple[ResidualBlock, Any]]:
        """Blocks of the encoder in order, each with the guidance feature that it takes, or None.

        Args:
          features: one for each of `guided_depths`; or what belongs to them, such as shapes.
        """
        left = dict(zip(self.guided_depths, features, strict=True))
        depth = 0
        for block in self.encoder:
            guided = isinstance(block, GuidedResidualBlock)
            yield block, left[depth] if guided else None
            depth += block.resample == "down"

    def get_build_config(self) -> dict[str, Any] | None:
        return self._build_config

    def build_from_config(self, config: dict[str, Any]) -> None:
        self.build(
            tuple(config["inputs_shape"]),
            guidance_shape=tuple(map(tuple, config["guidance_shape"])),
        )
