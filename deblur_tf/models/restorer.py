"""The contracts through which trainer, samplers and programs see a model.

A `Restorer` computes, once per image, a *condition*: all that is derived from the blurry
image, and the image itself. A `DiffusionRestorer` then diffuses a *target* from which the
sharp image follows given the condition: the sharp image itself (icDPM), or the residual of a
first prediction (DvSR). A `RegressionRestorer` needs no sampling.

Sizes are multiples of `size_multiple` here; `deblur_tf.models.restoration` pads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from deblur_tf.base.types import Shape, Tensor
from deblur_tf.diffusion.outputs import Estimate, Noise, Output
from deblur_tf.diffusion.schedules import LINEAR
from deblur_tf.networks.guidance import Guidance
from deblur_tf.networks.network import Network


class Restorer(keras.Model):
    """Base of all models.

    A condition is a NamedTuple of tensors with a field `blurry`: float32 [B, H, W, 3] in
    [-1, 1].
    """

    # k of each scale for which `condition` takes noise, and the channels of that noise.
    guidance_scales: tuple[int, ...] = ()
    guidance_channels: int = 1
    # k of each scale whose structure the condition predicts, see `regression_terms`.
    structure_scales: tuple[int, ...] = ()
    # Names of the figures that `diagnostics` returns.
    diagnostic_names: tuple[str, ...] = ()
    # Side in pixels of the largest tiles in which a large image is restored.
    largest_tile: int = 1024
    # Settings that must be equal in another model for its weights to be taken over, by their
    # names in the configuration: for those of `vae`, "vae.scale" and so on.
    settings_of_weights: tuple[str, ...] = ()
    # Whether the output depends on the blurry image at all.
    restores: bool = True
    # The schedule that it was trained with, see `SamplingSettings.schedule`.
    schedule_kind: str = LINEAR

    @property
    def size_multiple(self) -> int:
        """Heights and widths must be multiples of this."""
        raise NotImplementedError

    def condition(self, blurry: Tensor, noise: Sequence[Tensor] | None = None) -> Any:
        """All that is derived from blurry images, computed once per image.

        Args:
          blurry: float32 [B, H, W, 3] in [-1, 1].
          noise: standard normal [B, H / 2^k, W / 2^k, guidance_channels] for each of
            `guidance_scales`; None: no noise is added.
        """
        raise NotImplementedError

    @property
    def networks(self) -> list[Network]:
        """All networks in the model, nested ones included."""
        return [layer for layer in self._flatten_layers() if isinstance(layer, Network)]

    @property
    def floats_per_pixel(self) -> float:
        """About how many float32 values one evaluation keeps for each pixel of its input."""
        return max((network.floats_per_pixel for network in self.networks), default=0.0)

    def finish(self, image: Tensor, blurry: Tensor) -> Tensor:
        """Final correction of a restored image; both are float32 [B, H, W, 3], not padded."""
        del blurry
        return image

    def start(self, new: Sequence[str]) -> None:
        """Called after weights of another model were taken over; it had none for parts `new`."""

    def diagnostics(self, condition: Any, sharp: Tensor) -> dict[str, Tensor]:
        """Figures to monitor during training, [B] each; not part of the loss."""
        del condition, sharp
        return {}

    def regression_terms(
        self, condition: Any, sharp: Tensor
    ) -> tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]:
        """The condition's predictions, their targets, and the inputs they were made from.

        For the multiscale regression loss (icDPM eq. 2): three sequences of the same shapes,
        one entry per scale; empty for a model without such a loss.
        """
        del condition, sharp
        return (), (), ()


class RegressionRestorer(Restorer):
    """A model whose condition holds the restored image already."""

    def restore(self, condition: Any) -> Tensor:
        """The restored image, float32 [B, H, W, 3], about [-1, 1]."""
        raise NotImplementedError


class DiffusionRestorer(Restorer):
    """A model to be sampled; the defaults are for a diffusion model of images."""

    # What the network's output means.
    output_form: Output = Noise()

    def target_shape(self, condition: Any) -> Shape:
        """(B, H, W, C) of what diffuses; the entries may be tensors."""
        return ops.shape(condition.blurry)

    def noisy_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """(h, w, C) of what diffuses, for an image of the given size."""
        return height, width, 3

    def known(self, condition: Any) -> Tensor:
        """What is known of the target before sampling, in the target's shape."""
        return condition.blurry

    def raw_output(self, noisy: Tensor, noise_level: Tensor, condition: Any) -> Tensor:
        """The network's output, float32; `output_form` says what it means.

        Args:
          noisy: float32, noise_level * target + sigma * noise, of the target's shape.
          noise_level: float32 [B], sqrt(alpha_bar) in (0, 1].
          condition: what `condition(blurry)` returned.
        """
        raise NotImplementedError

    def denoise(self, noisy: Tensor, noise_level: Tensor, condition: Any) -> Estimate:
        """The target and the noise in a noisy target (icDPM eq. 3); see `raw_output`."""
        result = self.raw_output(noisy, noise_level, condition)
        return self.output_form.estimate(result, noisy, noise_level, self.known(condition))

    def limit(self, target: Tensor, condition: Any) -> Tensor:
        """The nearest target whose image is in [-1, 1], as the papers clip x_0."""
        image = ops.clip(self.to_image(target, condition), -1.0, 1.0)
        return self.to_target(image, condition)

    def to_target(self, sharp: Tensor, condition: Any) -> Tensor:
        """The target (what diffuses) for a sharp image [B, H, W, 3]."""
        del condition
        return sharp

    def to_image(self, target: Tensor, condition: Any) -> Tensor:
        """The image of a target: the inverse of `to_target`."""
        del condition
        return target


class Prediction(NamedTuple):
    """A condition that holds a first estimate of the sharp image.

    Attributes:
      blurry: float32 [B, H, W, 3] in [-1, 1].
      image: float32 [B, H, W, 3], about [-1, 1], not clipped.
      guidance: the structure that was predicted on the way; empty if there is none.
    """

    blurry: Tensor
    image: Tensor
    guidance: Guidance = Guidance((), (), ())


DRIFT_NAMES = ("drift_red", "drift_green", "drift_blue")


def drift(prediction: Tensor, sharp: Tensor) -> dict[str, Tensor]:
    """Mean of prediction - sharp in each channel, [B]: the colour cast.

    In units of the [-1, 1] range; 2 / 255 is one step of an 8-bit image.
    """
    means = ops.mean(prediction - sharp, axis=(1, 2))
    return {name: means[:, i] for i, name in enumerate(DRIFT_NAMES)}
