"""DeblurDiff: latent kernels and a control branch on a latent diffusion prior.

Kong et al., "DeblurDiff: Real-World Image Deblurring with Generative Diffusion Models",
2025. What diffuses is the latent z_0 of the sharp image. A frozen latent diffusion model, the
prior, is steered by a trained copy of its encoder, which sees the blurry image's latent z_lq
and an estimate z^s of the sharp image's latent: z_lq filtered by predicted kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from deblur_tf.base.registry import configurable
from deblur_tf.base.types import Shape, Tensor
from deblur_tf.diffusion import outputs
from deblur_tf.diffusion.schedules import SPACED, stable_diffusion_levels
from deblur_tf.models.color_transfer import FIXES
from deblur_tf.models.restorer import DiffusionRestorer, Prediction, RegressionRestorer
from deblur_tf.networks.control import ControlBranch
from deblur_tf.networks.kernels import LatentPredictor, StepIndependentPredictor
from deblur_tf.networks.latent_unet import LatentUNet
from deblur_tf.networks.vae import AutoencoderKL

# Side of the latents that Stable Diffusion was trained on; that is 512 pixels.
LARGEST_LATENT = 64


def _attention_floats(heads: float, pixels_a_token: int, side: int) -> float:
    """Floats per pixel of attention within a tile: scores, and what is computed from them."""
    return 3.0 * heads * (side**2 / pixels_a_token**2) ** 2 / side**2


def _autoencoder_floats(vae: AutoencoderKL, side: int) -> float:
    """Floats per pixel, the larger of a block at full size and the attention in the middle."""
    return max(6.0 * vae.channels[0], _attention_floats(1.0, vae.factor, side))


@configurable
class Autoencoder(RegressionRestorer):
    """The autoencoder alone: what it "restores" is the round trip of an image.

    The first stage of training; its quality limits that of the later stages.
    """

    settings_of_weights = ("vae.groups",)  # any scale will do

    def __init__(self, vae: AutoencoderKL, name: str = "autoencoder", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.vae = vae

    @property
    def size_multiple(self) -> int:
        """Heights and widths must be multiples of this."""
        return self.vae.factor

    @property
    def largest_tile(self) -> int:
        """See `LatentDiffusion.largest_tile`."""
        return LARGEST_LATENT * self.vae.factor

    def build(self, input_shape: Shape = (None, None, None, 3)) -> None:
        """Creates all variables; `input_shape` is that of an image."""
        self.vae.build(input_shape)

    @property
    def floats_per_pixel(self) -> float:
        """See `Restorer`: the autoencoder at full size, or its attention over the largest tile."""
        return _autoencoder_floats(self.vae, self.largest_tile)

    def condition(self, blurry: Tensor, noise: Sequence[Tensor] | None = None) -> Prediction:
        """The image and its round trip."""
        del noise
        return Prediction(blurry, self.vae(blurry))

    def restore(self, condition: Prediction) -> Tensor:
        """The round trip, float32 [B, H, W, 3]."""
        return condition.image

    def call(self, image: Tensor) -> Tensor:
        """The round trip: float32 [B, H, W, 3] -> the same."""
        return self.vae(image)


class Latents(NamedTuple):
    """The condition of a latent diffusion model.

    Attributes:
      blurry: float32 [B, H, W, 3] in [-1, 1].
      latent: z_lq, the latent of `blurry`, [B, h, w, C].
      structure: z^s if it does not depend on the step; otherwise empty.
    """

    blurry: Tensor
    latent: Tensor
    structure: Any = ()


@configurable
class LatentDiffusion(DiffusionRestorer):
    """A diffusion model of the latents of sharp images: the prior.

    It ignores the blurry image, so it does not restore.

    Args:
      vae: encodes images as latents and decodes them.
      unet: predicts the noise in a latent; its context is a weight of this model.
      output: what the UNet's output means, see `deblur_tf.diffusion.outputs`; None: the noise.
    """

    stored_as = {"output": "output_form"}
    settings_of_weights = ("vae.groups", "vae.scale", "unet.groups", "unet.head_width", "output")
    schedule_kind = SPACED
    restores = False

    def __init__(
        self,
        vae: AutoencoderKL,
        unet: LatentUNet,
        output: outputs.Output | None = None,
        name: str = "latent_diffusion",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        self.vae = vae
        self.unet = unet
        self.output_form = outputs.check(output)
        self._levels = stable_diffusion_levels().astype(np.float32)

    @property
    def size_multiple(self) -> int:
        """Heights and widths must be multiples of this."""
        return self.vae.factor * self.unet.size_multiple

    @property
    def largest_tile(self) -> int:
        """Side in pixels: attention was trained up to it; memory grows with its fourth power."""
        return LARGEST_LATENT * self.vae.factor

    @property
    def latent_shape(self) -> Shape:
        """(None, None, None, C) of a latent."""
        return (None, None, None, self.vae.latent_channels)

    def build(self, input_shape: Shape = (None, None, None, 3)) -> None:
        """Creates all variables; `input_shape` is that of the blurry image."""
        self.vae.build(input_shape)
        self.vae.trainable = False
        self.unet.build(self.latent_shape)
        # The embedding of the empty text in Stable Diffusion, otherwise learned.
        self.context = self.add_weight(
            shape=(1, *self.unet.context_shape), initializer="zeros", name="context"
        )

    @property
    def floats_per_pixel(self) -> float:
        """See `Restorer`: the autoencoder, or attention of the UNet over the largest tile."""
        depth = min(self.unet.attention_depths, default=0)
        heads = self.unet.widths[depth] / self.unet.head_width
        attention = _attention_floats(heads, self.vae.factor * 2**depth, self.largest_tile)
        return max(_autoencoder_floats(self.vae, self.largest_tile), attention)

    def condition(self, blurry: Tensor, noise: Sequence[Tensor] | None = None) -> Latents:
        """The blurry image and its latent, computed once per image."""
        del noise
        return Latents(blurry, self.vae.encode(blurry))

    def target_shape(self, condition: Latents) -> Shape:
        """(B, h, w, C) of the latent."""
        return ops.shape(condition.latent)

    def noisy_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """See `DiffusionRestorer.noisy_shape`."""
        factor = self.vae.factor
        return height // factor, width // factor, self.vae.latent_channels

    def known(self, condition: Latents) -> Tensor:
        """The blurry image's latent."""
        return condition.latent

    def to_target(self, sharp: Tensor, condition: Latents) -> Tensor:
        """z_0, the sharp image's latent."""
        del condition
        return self.vae.encode(sharp)

    def to_image(self, target: Tensor, condition: Latents) -> Tensor:
        """The decoded latent: float32 [B, H, W, 3], about [-1, 1]."""
        del condition
        return self.vae.decode(target)

    def limit(self, target: Tensor, condition: Latents) -> Tensor:
        """The target itself: latents have no bounds."""
        del condition
        return target

    def timestep(self, noise_level: Tensor) -> Tensor:
        """The training timestep, 0 to 999, whose noise level is nearest: float32 [B]."""
        levels = ops.convert_to_tensor(self._levels)
        apart = ops.abs(noise_level[:, None] - levels[None])
        return ops.cast(ops.argmin(apart, axis=-1), "float32")

    def estimates(
        self, noisy: Tensor, noise_level: Tensor, condition: Latents
    ) -> tuple[Tensor, Tensor | None]:
        """The UNet's output, and z^s if the model predicts it, else None: float32 [B, h, w, C]."""
        scaled = self.output_form.scale(noisy, noise_level, self.known(condition))
        return self.unet(scaled, self.timestep(noise_level), self.context), None

    def raw_output(self, noisy: Tensor, noise_level: Tensor, condition: Latents) -> Tensor:
        """The UNet's output for a noisy latent; see `DiffusionRestorer.raw_output`."""
        return self.estimates(noisy, noise_level, condition)[0]

    def call(self, noisy: Tensor, noise_level: Tensor, blurry: Tensor) -> dict[str, Tensor]:
        """ "noise": the noise predicted in a noisy latent."""
        condition = self.condition(blurry)
        return {"noise": self.denoise(noisy, noise_level, condition).noise}


@configurable
class DeblurDiff(LatentDiffusion):
    """The prior, steered by a control branch and a predictor of the sharp latent.

    The prior and its context are frozen. The ablations choose other predictors: none (control
    alone), `LatentPredictor` (no kernels), `StepIndependentPredictor` (no iterative refinement).

    Args:
      vae, unet, output: see `LatentDiffusion`.
      control: sees the noisy latent, z_lq and z^s, in this order.
      predictor: predicts z^s from z_lq and the noisy latent; None: there is no z^s.
      colour: how the blurry image's colours are transferred, "wavelet" or "adain", see
        `deblur_tf.models.color_transfer`; None: they are not.
      encoded_range: range to which a blurry image is mapped before it is encoded: [-1, 1], or
        the [0, 1] that the released weights expect.
    """

    restores = True

    def __init__(
        self,
        vae: AutoencoderKL,
        unet: LatentUNet,
        control: ControlBranch,
        predictor: LatentPredictor | StepIndependentPredictor | None = None,
        output: outputs.Output | None = None,
        colour: str | None = "wavelet",
        encoded_range: Sequence[float] = (-1.0, 1.0),
        name: str = "deblur_diff",
        **kwargs: Any,
    ):
        super().__init__(vae, unet, output, name=name, **kwargs)
        self.control = control
        self.predictor = predictor
        if colour is not None and colour not in FIXES:
            raise ValueError(f"colour must be {' or '.join(FIXES)}, or None, got {colour!r}")
        self.colour = colour
        self.encoded_range = tuple(encoded_range)

    def build(self, input_shape: Shape = (None, None, None, 3)) -> None:
        """Creates all variables; `input_shape` is that of the blurry image."""
        super().build(input_shape)
        self.unet.trainable = False
        self.context.trainable = False
        channels = self.vae.latent_channels
        if self.predictor is not None:
            self.predictor.build(self.latent_shape)
        seen = 2 if self.predictor is None else 3
        self.control.build((None, None, None, seen * channels))

    def finish(self, image: Tensor, blurry: Tensor) -> Tensor:
        """`image` with the colours of `blurry`."""
        return image if self.colour is None else FIXES[self.colour](image, blurry)

    def start(self, new: Sequence[str]) -> None:
        """The control branch starts as the UNet's encoder, unless it has weights already.

        See `Restorer.start`.
        """
        if "control" in new:
            self.control.start_from(self.unet)

    def condition(self, blurry: Tensor, noise: Sequence[Tensor] | None = None) -> Latents:
        """The blurry image, z_lq, and z^s if it is the same at every step."""
        del noise
        low, high = self.encoded_range
        latent = self.vae.encode(low + (high - low) * (blurry + 1.0) / 2.0)
        if not isinstance(self.predictor, StepIndependentPredictor):
            return Latents(blurry, latent)
        return Latents(blurry, latent, self.predictor(latent, self.context))

    def estimates(
        self, noisy: Tensor, noise_level: Tensor, condition: Latents
    ) -> tuple[Tensor, Tensor | None]:
        """See `LatentDiffusion.estimates`.

        The predictor runs at every step unless it is a `StepIndependentPredictor`.
        """
        noisy = self.output_form.scale(noisy, noise_level, self.known(condition))
        timestep = self.timestep(noise_level)
        structure = None
        seen = [noisy, condition.latent]
        if self.predictor is not None:
            structure = condition.structure
            if not isinstance(self.predictor, StepIndependentPredictor):
                structure = self.predictor(condition.latent, noisy, timestep, self.context)
            seen.append(structure)
        control = self.control(ops.concatenate(seen, axis=-1), timestep, self.context)
        return self.unet(noisy, timestep, self.context, control), structure
