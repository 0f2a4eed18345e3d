"""A UNet alone, from image to image: DvSR's predictor (DvSR sec. 6.2, Table 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deblur_tf.models.restorer import DRIFT_NAMES, Prediction, RegressionRestorer, drift
from deblur_tf.networks.unet import UNet
from deblur_tf.registry import configurable
from deblur_tf.types import Shape, Tensor


def check_predictor(unet: UNet) -> UNet:
    """Returns `unet` if it is one without noise level and guidance.

    Raises:
      ValueError: otherwise.
    """
    if unet.use_noise_level or unet.guided_depths:
        raise ValueError("a predictor needs UNet(use_noise_level=False, guided_depths=())")
    return unet


@configurable
class Regression(RegressionRestorer):
    """The predictor alone, to be trained by L2. Its one sample is its prediction.

    Args:
      unet: a UNet without noise level.
    """

    diagnostic_names = DRIFT_NAMES

    def __init__(self, unet: UNet, name: str = "regression", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.unet = check_predictor(unet)

    @property
    def size_multiple(self) -> int:
        """Heights and widths must be multiples of this."""
        return self.unet.size_multiple

    def build(self, input_shape: Shape = (None, None, None, 3)) -> None:
        """Creates all variables; `input_shape` is that of the blurry image."""
        self.unet.build(input_shape)

    def condition(self, blurry: Tensor, noise: Sequence[Tensor] | None = None) -> Prediction:
        """The blurry image and the prediction: once per image."""
        del noise
        return Prediction(blurry, self.unet(blurry))

    def restore(self, condition: Prediction) -> Tensor:
        """The prediction, float32 [B, H, W, 3]."""
        return condition.image

    def diagnostics(self, condition: Prediction, sharp: Tensor) -> dict[str, Tensor]:
        """See `drift`."""
        return drift(condition.image, sharp)

    def call(self, blurry: Tensor) -> Tensor:
        """[B, H, W, 3] -> float32 [B, H, W, 3]."""
        return self.restore(self.condition(blurry))
