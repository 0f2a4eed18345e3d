"""DvSR: predict, then refine the residual by diffusion (DvSR sec. 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gin
import keras
from keras import ops

from deblur_tf import image_ops
from deblur_tf.diffusion import outputs
from deblur_tf.models.restorer import (
    DRIFT_NAMES,
    Prediction,
    Restorer,
    drift,
    serialize_part,
)
from deblur_tf.models.unet import UNet

Tensor = Any
Shape = tuple[int | None, ...]


def predict(unet: UNet, blurry: Tensor) -> Prediction:
    """The image that a UNet without noise level makes of a blurry one, any size."""
    shape = ops.shape(blurry)
    image = unet(image_ops.pad_to_multiple(blurry, unet.size_multiple))
    return Prediction(image_ops.crop(image, shape[1], shape[2]))


def check_predictor(unet: UNet) -> UNet:
    """Returns `unet` if it is one without noise level and guidance.

    Raises:
      ValueError: otherwise.
    """
    if unet.use_noise_level or unet.guided_depths:
        raise ValueError("a predictor needs UNet(use_noise_level=False, guided_depths=())")
    return unet


@gin.register
@keras.saving.register_keras_serializable(package="deblur_tf")
class DvSR(Restorer):
    """Initial predictor g and a denoiser of the residual sharp - g(blurry) (eq. 6).

    There is no loss on g itself: what it learns comes through the residual.
    Most work of a restoration is done by g, once; the denoiser may be small.

    Args:
      predictor: g, a UNet without noise level; 64 channels in the paper.
      denoiser: f, a UNet that sees the noisy residual and the blurry image; 32.
      output: what the denoiser's output means, see `deblur_tf.diffusion.outputs`; None:
        the noise, as in the paper.
    """

    diagnostic_names = DRIFT_NAMES

    def __init__(
        self,
        predictor: UNet,
        denoiser: UNet,
        output: outputs.Output | None = None,
        name: str = "dvsr",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        self.predictor = check_predictor(predictor)
        self.denoiser = denoiser
        self.output_form = outputs.check(output)

    @property
    def size_multiple(self) -> int:
        """Sizes that are multiples of this need no padding."""
        return max(self.predictor.size_multiple, self.denoiser.size_multiple)

    def build(self, input_shape: Shape = (None, None, None, 3)) -> None:
        """Creates all variables; `input_shape` is that of the blurry image."""
        self.predictor.build(input_shape)
        self.denoiser.build((*input_shape[:-1], 2 * input_shape[-1]))

    def guide(self, blurry: Tensor, noise: Sequence[Tensor] | None = None) -> Prediction:
        """The initial prediction g(blurry): once per image.

        float32 [B, H, W, 3] in [-1, 1] -> `Prediction` of the same size.
        """
        del noise
        return predict(self.predictor, blurry)

    def known(self, blurry: Tensor, condition: Prediction) -> Tensor:
        """Zero: all that is known beforehand is in the prediction already."""
        del condition
        return ops.zeros_like(blurry)

    def raw_output(
        self, noisy: Tensor, noise_level: Tensor, blurry: Tensor, condition: Prediction
    ) -> Tensor:
        """The denoiser's output for a noisy residual; see `Restorer.raw_output`."""
        shape = ops.shape(noisy)
        scaled = self.output_form.scale(noisy, noise_level, self.known(blurry, condition))
        inputs = ops.concatenate([scaled, blurry], axis=-1)
        result = self.denoiser(image_ops.pad_to_multiple(inputs, self.size_multiple), noise_level)
        return image_ops.crop(result, shape[1], shape[2])

    def to_target(self, sharp: Tensor, condition: Prediction) -> Tensor:
        """The residual sharp - g(blurry); gradients flow to g."""
        return sharp - condition.image

    def to_image(self, target: Tensor, condition: Prediction) -> Tensor:
        """g(blurry) + residual."""
        return condition.image + target

    def diagnostics(self, condition: Prediction, sharp: Tensor) -> dict[str, Tensor]:
        """The predictor's colour drift: it has no loss of its own that forbids one."""
        return drift(condition.image, sharp)

    def call(self, noisy: Tensor, noise_level: Tensor, blurry: Tensor) -> dict[str, Tensor]:
        """ "noise": the noise predicted in a noisy residual; "prediction": g(blurry)."""
        condition = self.guide(blurry)
        return {
            "noise": self.denoise(noisy, noise_level, blurry, condition),
            "prediction": condition.image,
        }

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "predictor": serialize_part(self.predictor),
            "denoiser": serialize_part(self.denoiser),
            "output": keras.saving.serialize_keras_object(self.output_form),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DvSR:
        parts = {
            part: keras.saving.deserialize_keras_object(config[part])
            for part in ("predictor", "denoiser", "output")
        }
        return cls(**(config | parts))


@gin.register
@keras.saving.register_keras_serializable(package="deblur_tf")
class Regression(Restorer):
    """The predictor alone, to be trained by L2 (DvSR sec. 6.2, Table 4).

    It takes no sampling steps: its one sample is its prediction.

    Args:
      unet: a UNet without noise level.
    """

    diagnostic_names = DRIFT_NAMES

    def __init__(self, unet: UNet, name: str = "regression", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.unet = check_predictor(unet)

    @property
    def size_multiple(self) -> int:
        """Sizes that are multiples of this need no padding."""
        return self.unet.size_multiple

    def build(self, input_shape: Shape = (None, None, None, 3)) -> None:
        """Creates all variables; `input_shape` is that of the blurry image."""
        self.unet.build(input_shape)

    def guide(self, blurry: Tensor, noise: Sequence[Tensor] | None = None) -> Prediction:
        """The prediction: float32 [B, H, W, 3] in [-1, 1] -> the same."""
        del noise
        return predict(self.unet, blurry)

    def sampling_steps(self, steps: Any) -> Any:
        """None."""
        return 0 * steps

    def raw_output(
        self, noisy: Tensor, noise_level: Tensor, blurry: Tensor, condition: Prediction
    ) -> Tensor:
        """Nothing is noisy: zeros."""
        del noise_level, blurry, condition
        return 0.0 * noisy

    def to_image(self, target: Tensor, condition: Prediction) -> Tensor:
        """The prediction, whatever the target."""
        del target
        return condition.image

    def diagnostics(self, condition: Prediction, sharp: Tensor) -> dict[str, Tensor]:
        """See `drift`."""
        return drift(condition.image, sharp)

    def call(self, blurry: Tensor) -> Tensor:
        """[B, H, W, 3] -> float32 [B, H, W, 3]."""
        return self.guide(blurry).image

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"unet": serialize_part(self.unet), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Regression:
        unet = keras.saving.deserialize_keras_object(config["unet"])
        return cls(**(config | {"unet": unet}))
