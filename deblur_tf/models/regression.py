"""DvSR's predictor, a network from image to image, used alone (DvSR sec. 6.2, Table 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from deblur_tf.base.registry import configurable
from deblur_tf.base.types import Shape, Tensor
from deblur_tf.models.restorer import (
    DRIFT_NAMES,
    Prediction,
    RegressionRestorer,
    drift,
)
from deblur_tf.networks.blind_wiener import BlindWiener
from deblur_tf.networks.predictor import StructurePredictor
from deblur_tf.networks.unet import UNet

Predictor = UNet | StructurePredictor | BlindWiener


def check_predictor(network: keras.layers.Layer) -> keras.layers.Layer:
    """Returns the network if it predicts an image from an image alone.

    Raises:
      ValueError: if it needs more inputs: a UNet with noise level or guidance.
    """
    if isinstance(network, UNet) and (network.use_noise_level or network.guided_depths):
        raise ValueError("a predictor needs UNet(use_noise_level=False, guided_depths=())")
    return network


def predict(predictor: Predictor, blurry: Tensor) -> Prediction:
    """The blurry image with its prediction."""
    if isinstance(predictor, StructurePredictor):
        return Prediction(blurry, *predictor(blurry))
    return Prediction(blurry, predictor(blurry))


def structure_scales(predictor: Predictor) -> tuple[int, ...]:
    """k of each scale whose structure a predictor predicts."""
    return predictor.scales if isinstance(predictor, StructurePredictor) else ()


def structure_terms(
    predictor: Predictor, condition: Prediction, sharp: Tensor
) -> tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]:
    """`Restorer.regression_terms` of a predictor: empty unless it predicts structure."""
    if not structure_scales(predictor):
        return (), (), ()
    guidance = condition.guidance
    return guidance.predictions, predictor.targets(sharp), guidance.inputs


@configurable
class Regression(RegressionRestorer):
    """A predictor alone, trained by L2. Its only sample is its prediction.

    Args:
      predictor: a UNet without noise level, as in the paper, a `StructurePredictor` or a
        `BlindWiener`.
    """

    diagnostic_names = DRIFT_NAMES

    def __init__(self, predictor: Predictor, name: str = "regression", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.predictor = check_predictor(predictor)
        self.structure_scales = structure_scales(predictor)

    @property
    def size_multiple(self) -> int:
        """Heights and widths must be multiples of this."""
        return self.predictor.size_multiple

    def build(self, input_shape: Shape = (None, None, None, 3)) -> None:
        """Creates all variables; `input_shape` is that of the blurry image."""
        self.predictor.build(input_shape)

    def condition(self, blurry: Tensor, noise: Sequence[Tensor] | None = None) -> Prediction:
        """The blurry image and the prediction, computed once per image."""
        del noise
        return predict(self.predictor, blurry)

    def restore(self, condition: Prediction) -> Tensor:
        """The prediction, float32 [B, H, W, 3]."""
        return condition.image

    def regression_terms(
        self, condition: Prediction, sharp: Tensor
    ) -> tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]:
        """See `Restorer.regression_terms` (icDPM eq. 2)."""
        return structure_terms(self.predictor, condition, sharp)

    def diagnostics(self, condition: Prediction, sharp: Tensor) -> dict[str, Tensor]:
        """See `drift`."""
        return drift(condition.image, sharp)

    def call(self, blurry: Tensor) -> Tensor:
        """[B, H, W, 3] -> float32 [B, H, W, 3]."""
        return self.restore(self.condition(blurry))
