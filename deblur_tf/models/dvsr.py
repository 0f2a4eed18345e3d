"""DvSR: predict, then refine the residual by diffusion (DvSR sec. 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from deblur_tf.base.registry import configurable
from deblur_tf.base.types import Shape, Tensor
from deblur_tf.diffusion import outputs
from deblur_tf.models.regression import (
    Predictor,
    check_predictor,
    predict,
    structure_scales,
    structure_terms,
)
from deblur_tf.models.restorer import (
    DRIFT_NAMES,
    DiffusionRestorer,
    Prediction,
    drift,
)
from deblur_tf.networks.unet import UNet


@configurable
class DvSR(DiffusionRestorer):
    """Initial predictor g and a denoiser of the residual sharp - g(blurry) (DvSR eq. 6).

    There is no loss on g itself: it learns through the residual alone. Most of the work of a
    restoration is done by g, once per image; the denoiser may be small.

    Args:
      predictor: g, a UNet without noise level, of 64 channels in the paper; a
        `StructurePredictor`, whose features guide the denoiser's encoder as icDPM's guidance
        does (icDPM sec. 3.2); or a `BlindWiener`.
      denoiser: f, a UNet that sees the noisy residual and the blurry image, of 32 channels in
        the paper. With `guided_depths`, it takes the predictor's features of those scales.
      output: what the denoiser's output means, see `deblur_tf.diffusion.outputs`; None:
        the noise, as in the paper.
      learn_predictor: whether the diffusion loss trains g, as in the paper; otherwise g
        stays as it is given (`--init_from`), and only the denoiser learns.
      sees_prediction: whether the denoiser sees g(blurry) too; in the paper it does not.
    """

    stored_as = {"output": "output_form"}
    diagnostic_names = DRIFT_NAMES

    def __init__(
        self,
        predictor: Predictor,
        denoiser: UNet,
        output: outputs.Output | None = None,
        learn_predictor: bool = True,
        sees_prediction: bool = False,
        name: str = "dvsr",
        **kwargs: Any,
    ):
        scales = structure_scales(predictor)
        if not set(denoiser.guided_scales) <= set(scales):
            raise ValueError(
                f"the denoiser's guided_depths {denoiser.guided_depths} take scales "
                f"{denoiser.guided_scales}, but the predictor has features of {scales or 'none'}"
            )
        super().__init__(name=name, **kwargs)
        self.predictor = check_predictor(predictor)
        self.learn_predictor = learn_predictor
        self.sees_prediction = sees_prediction
        self.predictor.trainable = learn_predictor
        self.structure_scales = scales if learn_predictor else ()
        self.denoiser = denoiser
        self.output_form = outputs.check(output)

    @property
    def size_multiple(self) -> int:
        """Heights and widths must be multiples of this."""
        return max(self.predictor.size_multiple, self.denoiser.size_multiple)

    def build(self, input_shape: Shape = (None, None, None, 3)) -> None:
        """Creates all variables; `input_shape` is that of the blurry image."""
        self.predictor.build(input_shape)
        images = 3 if self.sees_prediction else 2
        features = tuple(
            (None, None, None, self.predictor.widths[k - 1]) for k in self.denoiser.guided_scales
        )
        self.denoiser.build((*input_shape[:-1], images * input_shape[-1]), guidance_shape=features)

    def condition(self, blurry: Tensor, noise: Sequence[Tensor] | None = None) -> Prediction:
        """The blurry image and the initial prediction g(blurry), computed once per image."""
        del noise
        condition = predict(self.predictor, blurry)
        if self.learn_predictor:
            return condition
        return keras.tree.map_structure(ops.stop_gradient, condition)

    def known(self, condition: Prediction) -> Tensor:
        """Zero: all that is known beforehand is in the prediction already."""
        return ops.zeros_like(condition.image)

    def raw_output(self, noisy: Tensor, noise_level: Tensor, condition: Prediction) -> Tensor:
        """The denoiser's output for a noisy residual; see `DiffusionRestorer.raw_output`."""
        scaled = self.output_form.scale(noisy, noise_level, self.known(condition))
        images = [scaled, condition.blurry]
        if self.sees_prediction:
            images.append(condition.image)
        features = condition.guidance.features
        return self.denoiser(
            ops.concatenate(images, axis=-1),
            noise_level,
            [features[k - 1] for k in self.denoiser.guided_scales],
        )

    def regression_terms(
        self, condition: Prediction, sharp: Tensor
    ) -> tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]:
        """See `Restorer.regression_terms`; empty if the predictor is not learned."""
        if not self.structure_scales:
            return (), (), ()
        return structure_terms(self.predictor, condition, sharp)

    def to_target(self, sharp: Tensor, condition: Prediction) -> Tensor:
        """The residual sharp - g(blurry); gradients flow to g."""
        return sharp - condition.image

    def to_image(self, target: Tensor, condition: Prediction) -> Tensor:
        """g(blurry) + residual."""
        return condition.image + target

    def diagnostics(self, condition: Prediction, sharp: Tensor) -> dict[str, Tensor]:
        """The predictor's colour drift, which no loss of its own prevents."""
        return drift(condition.image, sharp)

    def call(self, noisy: Tensor, noise_level: Tensor, blurry: Tensor) -> dict[str, Tensor]:
        """ "noise": the noise predicted in a noisy residual; "prediction": g(blurry)."""
        condition = self.condition(blurry)
        return {
            "noise": self.denoise(noisy, noise_level, condition).noise,
            "prediction": condition.image,
        }
