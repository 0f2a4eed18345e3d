"""What the denoiser of icDPM sees beside its latent guidance (Tables 9 b, 11).

The blurry image has three channels, or six where what a deconvolution made of it comes first.
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
        """Tells of the guidance and of the blurry images' channels; returns the result's."""
        del guidance
        return 3 + channels

    def call(self, noisy: Tensor, blurry: Tensor, guidance: Guidance) -> Tensor:
        """[B, H, W, 3], [B, H, W, 3 or 6] -> [B, H, W, channels]."""
        del guidance
        return ops.concatenate([noisy, blurry], axis=-1)


@configurable
class NoisyBlurryAndBands(keras.layers.Layer):
    """Also the frequency bands of the blurry image, at about unit variance; ours.

    What is to be added to a blurry image is a matter of its fine and middle
    frequencies, which are weak beside its brightness: weights that must cancel the
    brightness learn slowly. The bands, see `image_ops.bands`, say nothing new.

    Args:
      sizes: sides of the boxes in pixels, odd, increasing.
      stddev: what the bands are divided by, in the [-1, 1] range.
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
        """Tells of the guidance and of the blurry images' channels; returns the result's."""
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
        """Tells of the guidance and of the blurry images' channels; returns the result's."""
        del guidance, channels
        return 3

    def call(self, noisy: Tensor, blurry: Tensor, guidance: Guidance) -> Tensor:
        """[B, H, W, 3], [B, H, W, 3 or 6] -> [B, H, W, channels]."""
        del blurry, guidance
        return noisy


@configurable
class NoisyBlurryAndPrediction(keras.layers.Layer):
    """Also the guidance network's prediction, upscaled: Table 9 (b), 9 channels.

    "we upscale the regression output to the original input size, and
    concatenate the result". Of several scales the finest is taken; upscaling
    repeats pixels.
    """

    scale = 0

    def connect(self, guidance: MultiscaleGuidance | None, channels: int = 3) -> int:
        """Tells of the guidance and of the blurry images' channels; returns the result's."""
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
