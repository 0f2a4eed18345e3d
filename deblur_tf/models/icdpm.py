"""icDPM: the image-conditioned diffusion model, guided or not (sec. 3.1-3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gin
import keras
from keras import ops

from deblur_tf import image_ops
from deblur_tf.diffusion import outputs
from deblur_tf.models.guidance import Guidance, MultiscaleGuidance
from deblur_tf.models.inputs import NoisyAndBlurry
from deblur_tf.models.restorer import Restorer, serialize_part
from deblur_tf.models.unet import UNet

Tensor = Any
Shape = tuple[int | None, ...]


@gin.register
@keras.saving.register_keras_serializable(package="deblur_tf")
class GuidedDiffusion(Restorer):
    """Predicts the noise in a noisy image, given the blurry one.

    `guide` does not depend on the diffusion step: call it once per image and
    `denoise` once per step. `call` does both and names its outputs.

    Sizes that are no multiple of `size_multiple` are reflect-padded and cropped
    back. The model itself is float32; give "mixed_bfloat16" to its parts.

    Args:
      unet: the denoiser; takes the guidance features of its `guided_scales`.
      guidance: the multiscale guidance; None for the unguided icDPM.
      inputs: what the denoiser sees, see `deblur_tf.models.inputs`; None: the
        noisy and the blurry image.
      output: what the UNet's output means, see `deblur_tf.diffusion.outputs`; None:
        the noise, as in the paper.
    """

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
        super().__init__(name=name, **kwargs)
        self.unet = unet
        self.guidance = guidance
        self.inputs_layer = inputs or NoisyAndBlurry(dtype="float32", name="inputs")
        self.output_form = outputs.check(output)

    @property
    def size_multiple(self) -> int:
        """Sizes that are multiples of this need no padding."""
        coarsest = 1 if self.guidance is None else self.guidance.size_multiple
        return max(self.unet.size_multiple, coarsest)

    @property
    def guidance_scales(self) -> tuple[int, ...]:
        """k of each guidance scale, fine to coarse; empty when unguided."""
        return () if self.guidance is None else self.guidance.scales

    def build(self, input_shape: Shape = (None, None, None, 3)) -> None:
        """Creates all variables; `input_shape` is that of the blurry image."""
        features: tuple[Shape, ...] = ()
        if self.guidance is not None:
            self.guidance.build(input_shape)
            feature = (None, None, None, self.guidance.base_channels)
            features = (feature,) * len(self.unet.guided_depths)
        channels = self.inputs_layer.connect(self.guidance)
        self.unet.build((None, None, None, channels), guidance_shape=features)

    def guide(self, blurry: Tensor, noise: Sequence[Tensor] | None = None) -> Guidance:
        """The guidance of a blurry image: once per image (eq. 1-2).

        Args:
          blurry: float32 [B, H, W, 3] in [-1, 1].
          noise: standard normal [B, ceil(H' / 2^k), ceil(W' / 2^k), 1] for each
            of `guidance_scales`, H' x W' being the padded size; None adds none.

        Returns:
          Guidance at the padded size, for `denoise`; empty when unguided.
        """
        if self.guidance is None:
            return Guidance((), (), ())
        padded = image_ops.pad_to_multiple(blurry, self.size_multiple)
        return self.guidance(padded, noise)

    def regression_targets(self, sharp: Tensor) -> tuple[Tensor, ...]:
        """What `Guidance.predictions` should be (eq. 2)."""
        return () if self.guidance is None else self.guidance.targets(sharp)

    def raw_output(
        self, noisy: Tensor, noise_level: Tensor, blurry: Tensor, condition: Guidance
    ) -> Tensor:
        """The UNet's output, float32 [B, H, W, 3]; see `Restorer.raw_output`."""
        shape = ops.shape(noisy)
        noisy, blurry = (image_ops.pad_to_multiple(x, self.size_multiple) for x in (noisy, blurry))
        scaled = self.output_form.scale(noisy, noise_level, self.known(blurry, condition))
        result = self.unet(
            self.inputs_layer(scaled, blurry, condition), noise_level, self._latent(condition)
        )
        return image_ops.crop(result, shape[1], shape[2])

    def _latent(self, guidance: Guidance) -> list[Tensor]:
        """The features of the scales that enter the denoiser."""
        at = dict(zip(self.guidance_scales, guidance.features, strict=True))
        return [at[scale] for scale in self.unet.guided_scales]

    def call(
        self,
        noisy: Tensor,
        noise_level: Tensor,
        blurry: Tensor,
        guidance_noise: Sequence[Tensor] | None = None,
    ) -> dict[str, Any]:
        """One training forward.

        Returns:
          "noise": float32 [B, H, W, 3], the predicted noise; "gray": the
          predicted sharp gray image of each scale, see `Guidance.predictions`.
        """
        guidance = self.guide(blurry, guidance_noise)
        return {
            "noise": self.denoise(noisy, noise_level, blurry, guidance),
            "gray": guidance.predictions,
        }

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "unet": serialize_part(self.unet),
            "guidance": self.guidance and serialize_part(self.guidance),
            "inputs": serialize_part(self.inputs_layer),
            "output": keras.saving.serialize_keras_object(self.output_form),
            "name": self.name,
        }

    def get_build_config(self) -> dict[str, Any]:
        return {"input_shape": (None, None, None, self.unet.out_channels)}

    def build_from_config(self, config: dict[str, Any]) -> None:
        self.build(tuple(config["input_shape"]))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> GuidedDiffusion:
        config = dict(config)
        for part in ("unet", "guidance", "inputs", "output"):
            if config.get(part) is not None:
                config[part] = keras.saving.deserialize_keras_object(config[part])
        return cls(**config)
