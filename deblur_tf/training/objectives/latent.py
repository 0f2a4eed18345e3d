"""Objectives of DeblurDiff and of its autoencoder and prior (Kong et al., 2025, sec. 3)."""

from __future__ import annotations

import dataclasses
from typing import Any

from keras import ops

from deblur_tf.base.registry import configurable
from deblur_tf.base.types import Tensor
from deblur_tf.diffusion import process
from deblur_tf.diffusion.losses import mse
from deblur_tf.diffusion.schedules import stable_diffusion_levels
from deblur_tf.numerics import image_ops, noise
from deblur_tf.training.objectives.base import TrainingObjective

# Streams of random numbers drawn from one (seed, step, example) key.
_NOISE, _TIMESTEP = 21, 22


def _keys(seed: int, step: Tensor, items: Tensor) -> Tensor:
    return noise.fold_in(noise.fold_in(noise.make_key(seed), step)[None], items)


@configurable
@dataclasses.dataclass(frozen=True)
class AutoencoderObjective(TrainingObjective):
    """L1 error of reconstructed sharp images, and the KL divergence of latents from N(0, I).

    Attributes:
      kl_weight: weight of the divergence, which is a mean over the values of the latent.
      seed: seed of the draws from the posterior.
    """

    kl_weight: float = 1e-6
    seed: int = 0

    def __call__(
        self, model: Any, blurry: Tensor, sharp: Tensor, step: Tensor, items: Tensor
    ) -> dict[str, Tensor]:
        """The terms for an `Autoencoder` and uint8 images [B, H, W, 3]: [B] each.

        "latent_square" is the mean square of unscaled latents, drawn from the posterior: the
        scale of the autoencoder should be the reciprocal of its square root.
        """
        del blurry
        sharp = image_ops.to_model_range(sharp)
        mean, log_variance = model.vae.moments(sharp)
        _, height, width, channels = ops.shape(mean)
        drawn = noise.normal(
            noise.fold_in(_keys(self.seed, step, items), _NOISE), height, width, channels
        )
        latent = mean + ops.exp(0.5 * log_variance) * drawn
        found = model.vae.decode(model.vae.scale * latent)
        l1 = ops.mean(ops.abs(found - sharp), axis=(1, 2, 3))
        divergence = ops.square(mean) + ops.exp(log_variance) - 1.0 - log_variance
        kl = 0.5 * ops.mean(divergence, axis=(1, 2, 3))
        square = ops.mean(ops.square(latent), axis=(1, 2, 3))
        return {"loss": l1 + self.kl_weight * kl, "l1": l1, "kl": kl, "latent_square": square}


@configurable
@dataclasses.dataclass(frozen=True)
class LatentObjective(TrainingObjective):
    """|eps^ - eps|^2 + |z^s - z_0|^2 + |D(z^s) - x|^2, each a mean.

    A model without z^s has the first term alone. Timesteps are whole numbers, uniform from 0 to
    999.

    Attributes:
      latent_weight, pixel_weight: weights of the second and the third term. The released code
        lacks the third term; a weight of 0 omits it, and the decoding.
      seed: seed of all draws.
    """

    latent_weight: float = 1.0
    pixel_weight: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("latent_weight", "pixel_weight"):
            if not getattr(self, name) >= 0.0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")

    def decodes(self, model: Any) -> bool:
        """See `TrainingObjective`."""
        return self.pixel_weight > 0.0 and getattr(model, "predictor", None) is not None

    def __call__(
        self, model: Any, blurry: Tensor, sharp: Tensor, step: Tensor, items: Tensor
    ) -> dict[str, Tensor]:
        """The terms for a `LatentDiffusion` and uint8 images [B, H, W, 3]: [B] each."""
        sharp = image_ops.to_model_range(sharp)
        condition = model.condition(image_ops.to_model_range(blurry))
        target = model.to_target(sharp, condition)

        keys = _keys(self.seed, step, items)
        levels = ops.convert_to_tensor(stable_diffusion_levels().astype("float32"))
        choice = noise.uniform(noise.fold_in(keys, _TIMESTEP))
        count = levels.shape[0]
        level = ops.take(levels, ops.clip(ops.cast(choice * count, "int32"), 0, count - 1))
        _, height, width, channels = ops.shape(target)
        drawn = noise.normal(noise.fold_in(keys, _NOISE), height, width, channels)

        noisy = process.q_sample(target, drawn, level)
        result, structure = model.estimates(noisy, level, condition)
        wanted = model.output_form.training_target(target, drawn, level, model.known(condition))
        figures = {"denoising": mse(result, wanted)}
        loss = figures["denoising"]
        if structure is not None:
            figures["latent"] = mse(structure, target)
            loss = loss + self.latent_weight * figures["latent"]
            if self.pixel_weight:
                figures["pixel"] = mse(model.to_image(structure, condition), sharp)
                loss = loss + self.pixel_weight * figures["pixel"]
        return {"loss": loss, **figures}
