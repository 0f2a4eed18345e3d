"""A branch that steers a frozen UNet (ControlNet, Zhang et al., 2023; DeblurDiff sec. 3)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from deblur_tf.base.registry import configurable
from deblur_tf.base.types import Shape, Tensor
from deblur_tf.networks.injections import conv
from deblur_tf.networks.latent_unet import LatentEncoder


@configurable
class ControlBranch(LatentEncoder):
    """A copy of a UNet's encoder and middle; what it adds to the UNet starts at zero.

    Its input is the UNet's input, followed by the control signal in further channels; there is
    no separate encoder for the signal.

    Args: see `LatentEncoder`; the same as the UNet's.
    """

    def __init__(self, name: str = "control", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        start = {"kernel_initializer": "zeros", "dtype": self.dtype_policy}
        self.outlets = [
            conv(channels, 1, f"controlnet_down_blocks.{i}", **start)
            for i, channels in enumerate(self.skip_channels)
        ]
        self.outlets.append(conv(self.widths[-1], 1, "controlnet_mid_block", **start))

    def build(self, input_shape: Shape) -> None:
        """Creates all variables."""
        super().build(input_shape)
        for layer in self.outlets:
            layer.build((None, None, None, layer.filters))

    def start_from(self, unet: LatentEncoder) -> None:
        """Copies the weights of a UNet's encoder; further input channels start at zero."""
        theirs = {_within(unet, v): v for v in unet.variables}
        for variable in self.variables:
            name = _within(self, variable)
            if name.startswith("controlnet_"):
                continue
            value = ops.convert_to_numpy(theirs[name].value)
            if name == "conv_in/kernel":
                more = variable.shape[2] - value.shape[2]
                value = np.pad(value, ((0, 0), (0, 0), (0, more), (0, 0)))
            variable.assign(value)

    def call(self, x: Tensor, timestep: Tensor, context: Tensor) -> tuple[Tensor, ...]:
        """Computes what is added to each skip of the UNet and to its middle.

        Args:
          x: float32 [B, h, w, C]: the noisy latent, then the control signal.
          timestep, context: see `LatentUNet.call`.
        """
        skips, middle, _ = self.encoded(x, timestep, context)
        return tuple(layer(h) for layer, h in zip(self.outlets, (*skips, middle), strict=True))


def _within(layer: keras.layers.Layer, variable: keras.Variable) -> str:
    """A variable's path below a layer."""
    return variable.path.split(f"{layer.name}/", 1)[1]
