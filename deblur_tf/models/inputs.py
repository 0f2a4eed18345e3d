"""What the denoiser of icDPM sees beside its latent guidance (Tables 9 b, 11).

The blurry image has three channels, or six if its deconvolution is put before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from deblur_tf.base.registry import configurable
from deblur_tf.base.types import Tensor
from deblur_tf.networks.guidance import TARGETS, Guidance, MultiscaleGuidance
from deblur_tf.numerics import image_ops


@configurable
class NoisyAndBlurry(keras.layers.Layer):
    """The noisy and the blurry image, 6 channels: icDPM (sec. 3.1)."""

    def connect(self, guidance: MultiscaleGuidance | None, channels: int = 3) -> int:
        """Called with the guidance and the channels of `blurry`; returns the output's channels."""
        del guidance
        return 3 + channels

    def call(self, noisy: Tensor, blurry: Tensor, guidance: Guidance) -> Tensor:
        """[B, H, W, 3], [B, H, W, 3 or 6] -> [B, H, W, channels]."""
        del guidance
        return ops.concatenate([noisy, blurry], axis=-1)


@configurable
class NoisyBlurryAndBands(keras.layers.Layer):
    """As `NoisyAndBlurry`, with the blurry image's frequency bands at about unit variance; ours.

    Deblurring adds fine and middle frequencies to an image. These are weak compared with its
    brightness, and weights that must first cancel the brightness learn slowly. The bands,
    see `image_ops.bands`, hold no new information.

    Args:
      sizes: sides of the boxes in pixels, odd, increasing.
      stddev: what the bands are divided by, in units of the [-1, 1] range.
    """

    def __init__(
        self,
        sizes: Sequence[int] = (3, 9, 27),
        stddev: float = 0.15,
        name: str = "inputs",
        **kwargs: Any,
    ):
        kwargs["dtype"] = "float32"
        super().__init__(name=name, **kwargs)
        self.sizes = image_ops.check_box_sizes(sizes)
        self.stddev = stddev

    def connect(self, guidance: MultiscaleGuidance | None, channels: int = 3) -> int:
        """Called with the guidance and the channels of `blurry`; returns the output's channels."""
        del guidance
        return 3 + channels * (1 + len(self.sizes))

    def call(self, noisy: Tensor, blurry: Tensor, guidance: Guidance) -> Tensor:
        """[B, H, W, 3], [B, H, W, 3 or 6] -> [B, H, W, channels]."""
        del guidance
        bands = [band / self.stddev for band in image_ops.bands(blurry, self.sizes)]
        return ops.concatenate([noisy, blurry, *bands], axis=-1)


@configurable
class NoisyOnly(keras.layers.Layer):
    """The noisy image alone: "w/o input concatenation" of Table 11."""

    def connect(self, guidance: MultiscaleGuidance | None, channels: int = 3) -> int:
        """Called with the guidance and the channels of `blurry`; returns the output's channels."""
        del guidance, channels
        return 3

    def call(self, noisy: Tensor, blurry: Tensor, guidance: Guidance) -> Tensor:
        """[B, H, W, 3], [B, H, W, 3 or 6] -> [B, H, W, channels]."""
        del blurry, guidance
        return noisy


@configurable
class NoisyBlurryAndPrediction(keras.layers.Layer):
    """As `NoisyAndBlurry`, with the guidance's upscaled prediction: Table 9 (b), 9 channels.

    "we upscale the regression output to the original input size, and
    concatenate the result". With several scales, the finest is used; upscaling
    repeats pixels.
    """

    scale = 0
    uses_guidance = True

    def connect(self, guidance: MultiscaleGuidance | None, channels: int = 3) -> int:
        """Called with the guidance and the channels of `blurry`; returns the output's channels."""
        if guidance is None:
            raise ValueError("NoisyBlurryAndPrediction needs a guidance network")
        self.scale = guidance.scales[0]
        return 3 + channels + TARGETS[guidance.target]

    def call(self, noisy: Tensor, blurry: Tensor, guidance: Guidance) -> Tensor:
        """[B, H, W, 3], [B, H, W, 3 or 6] -> [B, H, W, channels]; H and W as padded."""
        prediction = guidance.predictions[0]
        for _ in range(self.scale):
            prediction = image_ops.upsample_nearest(prediction)
        return ops.concatenate([noisy, blurry, prediction], axis=-1)
