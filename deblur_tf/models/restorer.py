"""The one interface through which trainer, samplers and programs see a model.

A model first makes a *condition* of the blurry image, once per image: guidance
features, or a first prediction. Diffusion then runs on a *target* in which the
sharp image is expressed given the condition: the sharp image itself (icDPM), or
what the first prediction lacks (DvSR).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from deblur_tf.diffusion.outputs import Noise, Output

Tensor = Any


class Prediction(NamedTuple):
    """A condition that is a first estimate of the sharp image.

    Attributes:
      image: float32 [B, H, W, 3], about [-1, 1], not clipped.
      predictions: of structure, as `Guidance.predictions`: none.
    """

    image: Tensor
    predictions: tuple[Tensor, ...] = ()


class Restorer(keras.Model):
    """Base of all models; the defaults are those of a diffusion model of images."""

    # What the network's output means.
    output_form: Output = Noise()
    # k of each scale for which `guide` takes noise.
    guidance_scales: tuple[int, ...] = ()

    @property
    def size_multiple(self) -> int:
        """Sizes that are multiples of this need no padding."""
        raise NotImplementedError

    def guide(self, blurry: Tensor, noise: Sequence[Tensor] | None = None) -> Any:
        """The condition of a blurry image, with a field `predictions`.

        Args:
          blurry: float32 [B, H, W, 3] in [-1, 1].
          noise: standard normal [B, H / 2^k, W / 2^k, 1] for each of
            `guidance_scales`; None adds none.
        """
        raise NotImplementedError

    def known(self, blurry: Tensor, condition: Any) -> Tensor:
        """What is known of the target before sampling: [B, H, W, 3]."""
        del condition
        return blurry

    def raw_output(
        self, noisy: Tensor, noise_level: Tensor, blurry: Tensor, condition: Any
    ) -> Tensor:
        """The network's output, float32 [B, H, W, 3]; `output` says what it means.

        Args:
          noisy: float32 [B, H, W, 3], noise_level * target + sigma * noise.
          noise_level: float32 [B], sqrt(alpha_bar) in (0, 1].
          blurry: float32 [B, H, W, 3] in [-1, 1].
          condition: what `guide(blurry)` returned.
        """
        raise NotImplementedError

    def denoise(self, noisy: Tensor, noise_level: Tensor, blurry: Tensor, condition: Any) -> Tensor:
        """The noise predicted in a noisy target, float32 [B, H, W, 3] (eq. 3).

        Arguments are those of `raw_output`.
        """
        result = self.raw_output(noisy, noise_level, blurry, condition)
        return self.output_form.noise(result, noisy, noise_level, self.known(blurry, condition))

    def sampling_steps(self, steps: Any) -> Any:
        """How many of the schedule's steps the model takes."""
        return steps

    def to_target(self, sharp: Tensor, condition: Any) -> Tensor:
        """What diffuses, of a sharp image: [B, H, W, 3]."""
        del condition
        return sharp

    def to_image(self, target: Tensor, condition: Any) -> Tensor:
        """The image of a target: the inverse of `to_target`."""
        del condition
        return target

    def regression_targets(self, sharp: Tensor) -> tuple[Tensor, ...]:
        """What `condition.predictions` should be."""
        del sharp
        return ()

    def diagnostics(self, condition: Any, sharp: Tensor) -> dict[str, Tensor]:
        """Figures to watch in training, [B] each; not part of the loss."""
        del condition, sharp
        return {}

    # Names of what `diagnostics` returns.
    diagnostic_names: tuple[str, ...] = ()


DRIFT_NAMES = ("drift_red", "drift_green", "drift_blue")


def drift(prediction: Tensor, sharp: Tensor) -> dict[str, Tensor]:
    """Mean of prediction - sharp over each channel, [B]: a colour cast.

    In units of the [-1, 1] range; 2 / 255 is one step of an 8-bit image.
    """
    means = ops.mean(prediction - sharp, axis=(1, 2))
    return {name: means[:, i] for i, name in enumerate(DRIFT_NAMES)}


def serialize_part(layer: keras.layers.Layer) -> dict[str, Any]:
    """Serialises a part that only its owner builds, under its owner's path."""
    config = keras.saving.serialize_keras_object(layer)
    config.pop("build_config", None)
    return config
