"""icDPM: the image-conditioned diffusion model, guided or not (sec. 3.1-3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gin
import keras
from keras import ops

from deblur_tf import image_ops
from deblur_tf.models.guidance import Guidance, MultiscaleGuidance
from deblur_tf.models.unet import UNet

Tensor = Any
Shape = tuple[int | None, ...]

OUTPUTS = ("noise", "velocity")


def _serialize_unbuilt(layer: keras.layers.Layer) -> dict[str, Any]:
    """Serialises a part that only its owner builds, under its owner's path."""
    config = keras.saving.serialize_keras_object(layer)
    config.pop("build_config", None)
    return config


@gin.register
@keras.saving.register_keras_serializable(package="deblur_tf")
class GuidedDiffusion(keras.Model):
    """Predicts the noise in a noisy image, given the blurry one.

    `guide` does not depend on the diffusion step: call it once per image and
    `denoise` once per step. `call` does both and names its outputs.

    Sizes that are no multiple of `size_multiple` are reflect-padded and cropped
    back. The model itself is float32; give "mixed_bfloat16" to its parts.

    Args:
      unet: the denoiser, `guided` exactly when `guidance` is given.
      guidance: the multiscale guidance; None for the unguided icDPM.
      output: what the UNet's output means. "noise": the predicted noise, as in
        the papers. "velocity": v = noise_level * noise - sigma * sharp, from
        which the noise follows as sigma * noisy + noise_level * v (sigma =
        sqrt(1 - noise_level^2)). The loss is the same; the network need not
        learn to copy its noisy input, and trains much faster on small budgets.
    """

    def __init__(
        self,
        unet: UNet,
        guidance: MultiscaleGuidance | None = None,
        output: str = "noise",
        name: str = "guided_diffusion",
        **kwargs: Any,
    ):
        if unet.guided != (guidance is not None):
            raise ValueError(
                f"unet.guided is {unet.guided}, but guidance is "
                f"{'missing' if guidance is None else 'given'}"
            )
        if output not in OUTPUTS:
            raise ValueError(f"output must be one of {OUTPUTS}, got {output!r}")
        super().__init__(name=name, **kwargs)
        self.unet = unet
        self.guidance = guidance
        self.output_type = output

    @property
    def size_multiple(self) -> int:
        """Sizes that are multiples of this need no padding."""
        scales = 0 if self.guidance is None else self.guidance.num_scales
        return max(self.unet.size_multiple, 2**scales)

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
            features = (feature,) * len(self.guidance_scales)
        channels = self.unet.out_channels + input_shape[-1]
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
            return Guidance((), ())
        padded = image_ops.pad_to_multiple(blurry, self.size_multiple)
        return self.guidance(padded, noise)

    def denoise(
        self, noisy: Tensor, noise_level: Tensor, blurry: Tensor, guidance: Guidance
    ) -> Tensor:
        """The noise predicted in `noisy` (eq. 3).

        Args:
          noisy: float32 [B, H, W, 3], noise_level * sharp + sigma * noise.
          noise_level: float32 [B], sqrt(alpha_bar) in (0, 1].
          blurry: float32 [B, H, W, 3] in [-1, 1].
          guidance: what `guide(blurry)` returned.

        Returns:
          float32 [B, H, W, 3].
        """
        shape = ops.shape(noisy)
        inputs = image_ops.pad_to_multiple(
            ops.concatenate([noisy, blurry], axis=-1), self.size_multiple
        )
        result = self.unet(inputs, noise_level, guidance.features)
        result = image_ops.crop(result, shape[1], shape[2])
        if self.output_type == "noise":
            return result
        level = noise_level[:, None, None, None]
        return ops.sqrt(1.0 - level * level) * noisy + level * result

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
            "unet": _serialize_unbuilt(self.unet),
            "guidance": self.guidance and _serialize_unbuilt(self.guidance),
            "output": self.output_type,
            "name": self.name,
        }

    def get_build_config(self) -> dict[str, Any]:
        return {"input_shape": (None, None, None, self.unet.out_channels)}

    def build_from_config(self, config: dict[str, Any]) -> None:
        self.build(tuple(config["input_shape"]))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> GuidedDiffusion:
        config = dict(config)
        for part in ("unet", "guidance"):
            if config[part] is not None:
                config[part] = keras.saving.deserialize_keras_object(config[part])
        return cls(**config)
