"""Multiscale structure guidance (guided-diffusion paper sec. 3.2, eq. 1-2).

At scale k = 1, 2, 3 a transform phi_k leaves only coarse structure of the
blurry image: gray, 1/2^k of the size, slightly noisy. A network without
resampling turns it into a guidance feature, from which one conv must predict
the sharp image's structure at that scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from deblur_tf.base.registry import configurable
from deblur_tf.base.types import Shape, Tensor
from deblur_tf.networks.layers import ResidualBlock, check_policy, conv
from deblur_tf.numerics import image_ops

# Channels of what the guidance network sees and predicts.
TARGETS = {"gray": 1, "rgb": 3}

# Frequency bands are divided by this, in the [-1, 1] range.
BAND_STDDEV = 0.15


class Guidance(NamedTuple):
    """Result of the guidance for one batch, per scale from fine to coarse.

    Attributes:
      features: float [B, H / 2^k, W / 2^k, base_channels].
      predictions: float32 [B, H / 2^k, W / 2^k, 1], the sharp gray image in
        [-1, 1] as predicted by R (icDPM eq. 2); 3 channels where its target is RGB.
      inputs: inputs of the networks, with the shapes of `predictions`: the structure
        of the blurry image, with noise (icDPM eq. 1).
    """

    features: tuple[Tensor, ...]
    predictions: tuple[Tensor, ...]
    inputs: tuple[Tensor, ...]


def structure(image: Tensor, scale: int, target: str = "gray") -> Tensor:
    """The part of phi_k without noise: gray, then area mean over 2^k x 2^k.

    Also gives the target of the regression (icDPM eq. 2) from the sharp image.

    Args:
      image: [B, H, W, 3] in [-1, 1], H and W multiples of 2^scale.
      scale: k, 1 or more.
      target: "gray", or "rgb" to keep colour (icDPM Table 9 b-d).

    Returns:
      [B, H / 2^k, W / 2^k, 1], or 3 channels with colour.
    """
    return image_ops.downsample(
        image if target == "rgb" else image_ops.rgb_to_gray(image), 2**scale
    )


@configurable
class GuidanceTransform(keras.layers.Layer):
    """phi_k of eq. 1: gray, downsampled by 2^k, plus n ~ N(0, noise_stddev^2).

    With target "rgb" it keeps colour: colour can only be predicted from a colour input.

    The paper adds "a small amount" of noise and gives no figure; 0.05, in
    units of the [-1, 1] range, is our choice. The standard normal noise is an
    input, so that it is drawn outside of the model; without it none is added.
    """

    def __init__(
        self,
        scale: int,
        noise_stddev: float = 0.05,
        target: str = "gray",
        name: str = "guidance_transform",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        self.scale = scale
        self.noise_stddev = noise_stddev
        self.target = target

    def build(self, input_shape: Shape) -> None:
        del input_shape  # no variables

    def call(self, blurry: Tensor, noise: Tensor | None = None) -> Tensor:
        """[B, H, W, 3], [B, H / 2^k, W / 2^k, 1] -> [B, H / 2^k, W / 2^k, 1 or 3]."""
        result = structure(blurry, self.scale, self.target)
        return result if noise is None else result + self.noise_stddev * noise


@configurable
class GuidanceNetwork(keras.layers.Layer):
    """Extracts the guidance feature of one scale, at that scale throughout.

    Input conv to g; residual blocks of widths g, 2g, 3g; the middle at 3g;
    residual blocks of widths 3g, 2g, g. The last block's output is the
    guidance feature; from it R, a single conv that starts at zero, predicts by how
    much the sharp structure differs from the input, so that the network need not
    learn to reproduce its input.

    Args:
      base_channels: g, the channels of the guidance feature ("guide ch").
      channel_multipliers: widths over `base_channels`.
      num_res_blocks: residual blocks per width before the middle; one more per
        width after it. 3 in the paper.
      num_middle_blocks: 2 in the paper.
      out_channels: channels of input and prediction: 1 for gray, 3 for RGB.
      bands: box sizes of the frequency bands that the first conv gets besides the input,
        see `inputs.NoisyBlurryAndBands`; none in the paper.
      dtype: policy of the body; R is float32 always.
    """

    def __init__(
        self,
        base_channels: int = 32,
        channel_multipliers: Sequence[int] = (1, 2, 3),
        num_res_blocks: int = 3,
        num_middle_blocks: int = 2,
        out_channels: int = 1,
        bands: Sequence[int] = (),
        name: str = "guidance_network",
        **kwargs: Any,
    ):
        kwargs["autocast"] = False  # the prediction adds to the input in float32
        super().__init__(name=name, **kwargs)
        self.base_channels = base_channels
        self.channel_multipliers = tuple(channel_multipliers)
        self.num_res_blocks = num_res_blocks
        self.num_middle_blocks = num_middle_blocks
        self.out_channels = out_channels
        self.bands = image_ops.check_box_sizes(bands)

        widths = [base_channels * m for m in self.channel_multipliers]
        plan = [("in", w, num_res_blocks) for w in widths]
        plan += [("middle", widths[-1], num_middle_blocks)]
        plan += [("out", w, num_res_blocks + 1) for w in reversed(widths)]
        self.conv_in = conv(base_channels, 3, "conv_in", dtype=self.dtype_policy)
        self.blocks = [
            ResidualBlock(
                width,
                use_embedding=False,
                name=f"{part}_{width // base_channels}_{i}",
                dtype=self.dtype_policy,
            )
            for part, width, count in plan
            for i in range(count)
        ]
        self.regression = conv(
            out_channels, 3, "regression", kernel_initializer="zeros", dtype="float32"
        )

    def build(self, input_shape: Shape) -> None:
        seen = input_shape[-1] * (1 + len(self.bands))
        self.conv_in.build((*input_shape[:-1], seen))
        channels = self.base_channels
        for block in self.blocks:
            block.build((None, None, None, channels))
            channels = block.filters
        self.regression.build((None, None, None, channels))

    def call(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """[B, h, w, C] -> feature [B, h, w, g], prediction float32 [B, h, w, C]."""
        bands = [band / BAND_STDDEV for band in image_ops.bands(inputs, self.bands)]
        h = self.conv_in(ops.concatenate([inputs, *bands], axis=-1) if bands else inputs)
        for block in self.blocks:
            h = block(h)
        return h, ops.cast(inputs, "float32") + self.regression(h)


@configurable
class MultiscaleGuidance(keras.layers.Layer):
    """One transform and one network per scale (the paper's "guidance network").

    Args:
      base_channels: g of each network.
      scales: values of k, each for 1/2^k of the size, fine to coarse; (1, 2, 3) in the paper.
      target: "gray" as in the paper, or "rgb" (icDPM Table 9 b-d).
      channel_multipliers, num_res_blocks, num_middle_blocks, bands: see
        `GuidanceNetwork`.
      noise_stddev: see `GuidanceTransform`.
    """

    def __init__(
        self,
        base_channels: int = 32,
        scales: Sequence[int] = (1, 2, 3),
        target: str = "gray",
        channel_multipliers: Sequence[int] = (1, 2, 3),
        num_res_blocks: int = 3,
        num_middle_blocks: int = 2,
        noise_stddev: float = 0.05,
        bands: Sequence[int] = (),
        name: str = "guidance",
        **kwargs: Any,
    ):
        if not scales or min(scales) < 1 or sorted(set(scales)) != list(scales):
            raise ValueError(f"scales must be increasing and at least 1, got {tuple(scales)}")
        if target not in TARGETS:
            raise ValueError(f"target must be one of {tuple(TARGETS)}, got {target!r}")
        # The images stay float32 until the first conv of each network.
        kwargs["autocast"] = False
        super().__init__(name=name, **kwargs)
        check_policy(self)
        self.base_channels = base_channels
        self.scales = tuple(scales)
        self.target = target
        self.channel_multipliers = tuple(channel_multipliers)
        self.num_res_blocks = num_res_blocks
        self.num_middle_blocks = num_middle_blocks
        self.noise_stddev = noise_stddev
        self.bands = image_ops.check_box_sizes(bands)
        self.transforms = [
            GuidanceTransform(k, noise_stddev, target, name=f"transform_{k}", dtype="float32")
            for k in self.scales
        ]
        self.networks = [
            GuidanceNetwork(
                base_channels,
                channel_multipliers,
                num_res_blocks=num_res_blocks,
                num_middle_blocks=num_middle_blocks,
                out_channels=TARGETS[target],
                bands=self.bands,
                name=f"scale_{k}",
                dtype=self.dtype_policy,
            )
            for k in self.scales
        ]

    @property
    def size_multiple(self) -> int:
        """Heights and widths must be multiples of this."""
        return 2 ** self.scales[-1]

    def targets(self, sharp: Tensor) -> tuple[Tensor, ...]:
        """The structure of the sharp image that each scale is to predict (icDPM eq. 2)."""
        return tuple(structure(sharp, k, self.target) for k in self.scales)

    def build(self, input_shape: Shape) -> None:
        for transform, network in zip(self.transforms, self.networks, strict=True):
            transform.build(input_shape)
            network.build((input_shape[0], None, None, TARGETS[self.target]))

    def call(self, blurry: Tensor, noise: Sequence[Tensor] | None = None) -> Guidance:
        """Features and predictions of every scale.

        Args:
          blurry: [B, H, W, 3] in [-1, 1], H and W multiples of
            `size_multiple`.
          noise: standard normal [B, H / 2^k, W / 2^k, 1] per scale, or None.
        """
        noise = (None,) * len(self.scales) if noise is None else noise
        inputs = tuple(t(blurry, n) for t, n in zip(self.transforms, noise, strict=True))
        outputs = [network(x) for network, x in zip(self.networks, inputs, strict=True)]
        features, predictions = zip(*outputs, strict=True)
        return Guidance(features, predictions, inputs)
