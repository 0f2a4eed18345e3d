"""Kernels for each pixel and channel of a latent, and a network that predicts them.

DeblurDiff's latent kernel prediction network and element-wise adaptive convolution
(Kong et al., 2025, sec. 3).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from deblur_tf.base.registry import configurable
from deblur_tf.base.types import Shape, Tensor
from deblur_tf.networks.latent_unet import LatentUNet


def element_wise_adaptive_convolution(x: Tensor, kernels: Tensor, size: int) -> Tensor:
    """sum_ij K[c, i, j, p] x[c, p + (i - r, j - r)]: each value has a kernel of its own.

    Shifted maps are multiplied and added, one for each of the size^2 places in a kernel:
    extracting patches instead would take size^2 times the memory.

    Args:
      x: [B, H, W, C]; zero beyond its edges.
      kernels: [B, H, W, C * size * size], channels first, then rows, then columns.
      size: side of the kernels, odd; r = size // 2.

    Returns:
      [B, H, W, C].
    """
    height, width = ops.shape(x)[1:3]
    radius, channels = size // 2, x.shape[-1]
    around = ops.pad(x, ((0, 0), (radius, radius), (radius, radius), (0, 0)))
    kernels = ops.reshape(kernels, (-1, height, width, channels, size * size))
    total = 0.0
    for place in range(size * size):
        i, j = divmod(place, size)
        total = total + kernels[..., place] * around[:, i : i + height, j : j + width]
    return total


@configurable
class LatentPredictor(keras.layers.Layer):
    """Predicts the sharp image's latent as the blurry latent plus a network's output (an ablation).

    The output conv of the network starts at zero, so the result starts as z_lq.

    Args:
      unet: gets the blurry and the noisy latent, in this order, as channels; its output has as
        many channels as one latent.
    """

    def __init__(self, unet: LatentUNet, name: str = "predictor", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.unet = unet

    def channels(self, latent_channels: int) -> int:
        """Number of output channels that the network needs."""
        return latent_channels

    def build(self, latent_shape: Shape) -> None:
        """Creates all variables; the shape is that of the latent."""
        channels = latent_shape[-1]
        if self.unet.out_channels != (wanted := self.channels(channels)):
            raise ValueError(
                f"{self.name}: for latents of {channels} channels the UNet must have "
                f"out_channels = {wanted}, got {self.unet.out_channels}"
            )
        self.unet.build((*latent_shape[:-1], 2 * channels))

    def call(self, blurry: Tensor, noisy: Tensor, timestep: Tensor, context: Tensor) -> Tensor:
        """The predicted latent of the sharp image: float32 [B, h, w, C]."""
        result = self.unet(ops.concatenate([blurry, noisy], -1), timestep, context)
        return blurry + self.change(blurry, result)

    def change(self, blurry: Tensor, result: Tensor) -> Tensor:
        """What the network's output adds to the blurry latent."""
        del blurry
        return result


@configurable
class LatentKernelPredictor(LatentPredictor):
    """Predicts the sharp image's latent by filtering the blurry latent: z_lq + EAC(z_lq).

    Kernels are not normalised; all start at zero.

    Args:
      unet: see `LatentPredictor`; with C * size^2 output channels.
      size: side of the kernels; 5 in the paper.
    """

    def __init__(self, unet: LatentUNet, size: int = 5, **kwargs: Any):
        super().__init__(unet, **kwargs)
        if size % 2 == 0:
            raise ValueError(f"{self.name}: the size of kernels must be odd, got {size}")
        self.size = size

    def channels(self, latent_channels: int) -> int:
        """Number of output channels that the network needs: a kernel per latent channel."""
        return latent_channels * self.size**2

    def change(self, blurry: Tensor, result: Tensor) -> Tensor:
        """See `LatentPredictor.change`."""
        return element_wise_adaptive_convolution(blurry, result, self.size)


@configurable
class StepIndependentPredictor(keras.layers.Layer):
    """A predictor that sees the blurry latent alone: no iterative refinement (an ablation).

    Its result does not depend on the step, so it is computed once per image.
    """

    def __init__(self, predictor: LatentPredictor, name: str = "once", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.predictor = predictor

    def build(self, latent_shape: Shape) -> None:
        """Creates all variables; the shape is that of the latent."""
        self.predictor.build(latent_shape)

    def call(self, blurry: Tensor, context: Tensor) -> Tensor:
        """The predicted latent of the sharp image: float32 [B, h, w, C]."""
        return self.predictor(blurry, blurry, ops.zeros_like(blurry[:, 0, 0, 0]), context)
