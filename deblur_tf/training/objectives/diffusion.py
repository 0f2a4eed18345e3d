"""The loss of one batch: the same function on every backend (icDPM sec. 3.3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from deblur_tf.base.registry import configurable
from deblur_tf.base.types import Tensor
from deblur_tf.diffusion import losses, process
from deblur_tf.diffusion.schedules import Schedule, linear_betas
from deblur_tf.models.restoration import guidance_noise
from deblur_tf.models.restorer import DiffusionRestorer
from deblur_tf.numerics import image_ops, noise
from deblur_tf.training.objectives.base import TrainingObjective

Distance = Callable[[Tensor, Tensor], Tensor]

# Streams of random numbers drawn from one (seed, step, example) key.
_NOISE, _CHOICE, _FRACTION = 11, 12, 13


class Draws(NamedTuple):
    """The randomness of one training step.

    Attributes:
      noise: standard normal [B, H, W, 3].
      noise_level: [B] in (0, 1].
      guidance_noise: standard normal [B, H / 2^k, W / 2^k, 1] per scale.
    """

    noise: Tensor
    noise_level: Tensor
    guidance_noise: tuple[Tensor, ...]


def batch_loss(
    model: DiffusionRestorer,
    condition: Any,
    sharp: Tensor,
    draws: Draws,
    step: Tensor,
    warm_start_steps: int = 0,
    regression_weight: float = 1.0,
    distance: Distance = losses.denoising_l1,
) -> dict[str, Tensor]:
    """Multiscale regression plus warm-started denoising loss (icDPM sec. 3.3, 4.2).

    Args:
      model: a `DiffusionRestorer`.
      condition: the model's condition of the blurry images.
      sharp: float32 [B, H, W, 3] in [-1, 1].
      draws: the noise of this step.
      step: number of optimizer steps done.
      warm_start_steps: see `losses.warm_start_weight`.
      regression_weight, distance: see `Objective`.

    Returns:
      "loss" and "denoising"; if guided, "regression" and "regression_of_input", the
      regression loss if the guidance returned its input; and the model's diagnostics:
      float32 [B] each.
    """
    target = model.to_target(sharp, condition)
    noisy = process.q_sample(target, draws.noise, draws.noise_level)
    result = model.raw_output(noisy, draws.noise_level, condition)
    known = model.known(condition)
    wanted = model.output_form.training_target(target, draws.noise, draws.noise_level, known)

    denoising = distance(result, wanted)
    figures = model.diagnostics(condition, sharp)
    predictions, targets, seen = model.regression_terms(condition, sharp)
    if not predictions:
        return {"loss": denoising, "denoising": denoising, **figures}

    regression = losses.multiscale_regression(predictions, targets)
    weight = losses.warm_start_weight(step, warm_start_steps)
    return {
        "loss": regression_weight * regression + weight * denoising,
        "denoising": denoising,
        "regression": regression,
        "regression_of_input": losses.multiscale_regression(seen, targets),
        **figures,
    }


@configurable
@dataclasses.dataclass(frozen=True)
class Objective(TrainingObjective):
    """What is minimised, and how its random numbers are drawn.

    Attributes:
      train_steps, train_beta_max: the training schedule, linear (DvSR app. D).
      warm_start_steps: steps over which the denoising loss is faded in; training
        starts with the regression loss alone. No effect when unguided.
      regression_weight: weight of the multiscale regression loss; 0 for the ablation
        without it (icDPM sec. 4.6).
      distance: the denoising loss, a function of the network's output and its target; the L1
        in the papers.
      seed: seed of all draws.
    """

    train_steps: int = 2000
    train_beta_max: float = 0.01
    warm_start_steps: int = 60_000
    regression_weight: float = 1.0
    distance: Distance = losses.denoising_l1
    seed: int = 0

    def __post_init__(self) -> None:
        linear_betas(self.train_steps, 1e-6, self.train_beta_max)
        if not self.regression_weight >= 0.0:
            raise ValueError(
                f"regression_weight must not be negative, got {self.regression_weight}"
            )
        if self.warm_start_steps and not self.regression_weight:
            raise ValueError(
                "warm_start_steps fades in the denoising loss after the regression loss, but with "
                "regression_weight = 0 there is none: set warm_start_steps to 0"
            )

    def draw(self, model: Any, shape: Any, step: Tensor, items: Tensor) -> Draws:
        """Random numbers of one step, keyed by (seed, step, item).

        Args:
          model: defines `guidance_scales`.
          shape: (B, H, W, 3).
          step: integer scalar.
          items: integer [B], number of each example in the global batch, so that the
            result does not depend on how the batch is split over replicas.
        """
        keys = noise.fold_in(noise.make_key(self.seed), step)
        keys = noise.fold_in(keys[None], items)
        schedule = Schedule(linear_betas(self.train_steps, 1e-6, self.train_beta_max))
        levels = ops.convert_to_tensor(schedule.noise_levels.astype(np.float32))
        height, width = shape[1], shape[2]
        return Draws(
            noise.normal(noise.fold_in(keys, _NOISE), height, width, 3),
            process.sample_noise_level(
                levels,
                noise.uniform(noise.fold_in(keys, _CHOICE)),
                noise.uniform(noise.fold_in(keys, _FRACTION)),
            ),
            guidance_noise(model, keys, height, width),
        )

    def condition(
        self, model: Any, blurry: Tensor, step: Tensor, items: Tensor
    ) -> tuple[Any, Draws]:
        """The model's condition of uint8 images [B, H, W, 3], and this step's draws."""
        draws = self.draw(model, ops.shape(blurry), step, items)
        blurry = image_ops.to_model_range(blurry)
        return model.condition(blurry, draws.guidance_noise), draws

    def __call__(
        self, model: Any, blurry: Tensor, sharp: Tensor, step: Tensor, items: Tensor
    ) -> dict[str, Tensor]:
        """`loss` of uint8 images [B, H, W, 3] with this step's draws."""
        return self.loss(model, *self.condition(model, blurry, step, items), sharp, step)

    def loss(
        self, model: Any, condition: Any, draws: Draws, sharp: Tensor, step: Tensor
    ) -> dict[str, Tensor]:
        """`batch_loss` from the results of `condition` and sharp images, uint8 [B, H, W, 3]."""
        return batch_loss(
            model,
            condition,
            image_ops.to_model_range(sharp),
            draws,
            step,
            self.warm_start_steps,
            self.regression_weight,
            self.distance,
        )


@configurable
@dataclasses.dataclass(frozen=True)
class PredictionObjective(TrainingObjective):
    """The loss of a first prediction alone; by default the papers' L2 (DvSR sec. 6.2, Table 4).

    Attributes:
      distance: loss of the prediction against the sharp image.
      regression_weight: weight of the multiscale regression loss (icDPM eq. 2), for a predictor
        that predicts structure.
    """

    distance: Distance = losses.mse
    regression_weight: float = 0.0

    def __call__(
        self, model: Any, blurry: Tensor, sharp: Tensor, step: Tensor, items: Tensor
    ) -> dict[str, Tensor]:
        """Loss, its terms and diagnostics for uint8 images [B, H, W, 3]: [B] each."""
        del step, items  # nothing is drawn
        if self.regression_weight and not model.structure_scales:
            raise ValueError(
                "PredictionObjective.regression_weight needs a predictor that predicts structure, "
                "such as @StructurePredictor(); set it to 0 for others"
            )
        sharp = image_ops.to_model_range(sharp)
        condition = model.condition(image_ops.to_model_range(blurry))
        loss = self.distance(model.restore(condition), sharp)
        figures = model.diagnostics(condition, sharp)
        if not self.regression_weight:
            return {"loss": loss, **figures}
        predictions, targets, _ = model.regression_terms(condition, sharp)
        regression = losses.multiscale_regression(predictions, targets)
        total = loss + self.regression_weight * regression
        return {"loss": total, "prediction": loss, "regression": regression, **figures}
