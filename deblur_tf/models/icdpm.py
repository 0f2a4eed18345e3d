"""icDPM: the image-conditioned diffusion model, guided or not (icDPM sec. 3.1-3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras

from deblur_tf.base.registry import configurable
from deblur_tf.base.types import Shape, Tensor
from deblur_tf.diffusion import outputs
from deblur_tf.models.inputs import NoisyAndBlurry
from deblur_tf.models.restorer import DiffusionRestorer
from deblur_tf.networks.guidance import TARGETS, Guidance, MultiscaleGuidance
from deblur_tf.networks.unet import UNet


class Guided(NamedTuple):
    """The condition of icDPM.

    Attributes:
      blurry: float32 [B, H, W, 3] in [-1, 1].
      guidance: the guidance network's output for `blurry`; empty when unguided.
    """

    blurry: Tensor
    guidance: Guidance


@configurable
class GuidedDiffusion(DiffusionRestorer):
    """Predicts the noise in a noisy image, given the blurry one.

    `condition` does not depend on the diffusion step: call it once per image and
    `denoise` once per step. `call` does both and names its outputs. The model itself
    is float32; give "mixed_bfloat16" to its parts.

    Args:
      unet: the denoiser; takes the guidance features of its `guided_scales`.
      guidance: the multiscale guidance; None for the unguided icDPM.
      inputs: what the denoiser sees, see `deblur_tf.models.inputs`; None: the
        noisy and the blurry image.
      output: what the UNet's output means, see `deblur_tf.diffusion.outputs`; None:
        the noise, as in the paper.
    """

    stored_as = {"inputs": "inputs_layer", "output": "output_form"}
    # Channels of what `seen` returns.
    seen_channels = 3

    def __init__(
        self,
        unet: UNet,
        guidance: MultiscaleGuidance | None = None,
        inputs: keras.layers.Layer | None = None,
        output: outputs.Output | None = None,
        name: str = "guided_diffusion",
        **kwargs: Any,
    ):
        scales = () if guidance is None else guidance.scales
        if not set(unet.guided_scales) <= set(scales):
            raise ValueError(
                f"unet.guided_depths {unet.guided_depths} take scales {unet.guided_scales}, but "
                f"there is guidance for {scales or 'none'}"
            )
        sees_guidance = getattr(inputs, "uses_guidance", False)
        if guidance is not None and not unet.guided_depths and not sees_guidance:
            raise ValueError(
                "there is a guidance network, but nothing uses it: give UNet(guided_depths=(1, 2, "
                "3)) for the paper's model, or guidance=None for the unguided one"
            )
        super().__init__(name=name, **kwargs)
        self.unet = unet
        self.guidance = guidance
        self.inputs_layer = inputs or NoisyAndBlurry(dtype="float32", name="inputs")
        self.output_form = outputs.check(output)

    @property
    def size_multiple(self) -> int:
        """Heights and widths must be multiples of this."""
        coarsest = 1 if self.guidance is None else self.guidance.size_multiple
        return max(self.unet.size_multiple, coarsest)

    @property
    def guidance_scales(self) -> tuple[int, ...]:
        """k of each guidance scale, fine to coarse; empty when unguided."""
        return () if self.guidance is None else self.guidance.scales

    @property
    def structure_scales(self) -> tuple[int, ...]:
        """k of each scale that the guidance predicts: all of its scales."""
        return self.guidance_scales

    @property
    def guidance_channels(self) -> int:
        """Channels of the guidance network's input: 1 for gray."""
        return 1 if self.guidance is None else TARGETS[self.guidance.target]

    def build(self, input_shape: Shape = (None, None, None, 3)) -> None:
        """Creates all variables; `input_shape` is that of the blurry image."""
        features: tuple[Shape, ...] = ()
        if self.guidance is not None:
            self.guidance.build(input_shape)
            feature = (None, None, None, self.guidance.base_channels)
            features = (feature,) * len(self.unet.guided_depths)
        channels = self.inputs_layer.connect(self.guidance, self.seen_channels)
        self.unet.build((None, None, None, channels), guidance_shape=features)

    def condition(self, blurry: Tensor, noise: Sequence[Tensor] | None = None) -> Guided:
        """The blurry image and its guidance, computed once per image (icDPM eq. 1-2).

        Arguments: see `Restorer.condition`.
        """
        if self.guidance is None:
            return Guided(blurry, Guidance((), (), ()))
        return Guided(blurry, self.guidance(blurry, noise))

    def regression_terms(
        self, condition: Guided, sharp: Tensor
    ) -> tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]:
        """See `DiffusionRestorer.regression_terms` (icDPM eq. 2)."""
        if self.guidance is None:
            return (), (), ()
        guidance = condition.guidance
        return guidance.predictions, self.guidance.targets(sharp), guidance.inputs

    def raw_output(self, noisy: Tensor, noise_level: Tensor, condition: Guided) -> Tensor:
        """The UNet's output, float32 [B, H, W, 3]; see `DiffusionRestorer.raw_output`."""
        guidance = condition.guidance
        scaled = self.output_form.scale(noisy, noise_level, self.known(condition))
        features = dict(zip(self.guidance_scales, guidance.features, strict=True))
        return self.unet(
            self.inputs_layer(scaled, self.seen(condition), guidance),
            noise_level,
            [features[scale] for scale in self.unet.guided_scales],
        )

    def seen(self, condition: Guided) -> Tensor:
        """What the UNet sees beside the noisy image: the blurry one, [B, H, W, seen_channels]."""
        return condition.blurry

    def call(
        self,
        noisy: Tensor,
        noise_level: Tensor,
        blurry: Tensor,
        guidance_noise: Sequence[Tensor] | None = None,
    ) -> dict[str, Any]:
        """One forward pass in training.

        Returns:
          "noise": float32 [B, H, W, 3], the predicted noise; "gray": the
          predicted sharp gray image of each scale, see `Guidance.predictions`.
        """
        condition = self.condition(blurry, guidance_noise)
        return {
            "noise": self.denoise(noisy, noise_level, condition).noise,
            "gray": condition.guidance.predictions,
        }

    def get_build_config(self) -> dict[str, Any]:
        return {"input_shape": (None, None, None, self.unet.out_channels)}

    def build_from_config(self, config: dict[str, Any]) -> None:
        self.build(tuple(config["input_shape"]))
