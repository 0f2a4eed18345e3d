"""Everything that defines a training run, as one gin-configured object."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from deblur_tf.base.registry import configurable, resumable
from deblur_tf.data.pair_source import PairSource
from deblur_tf.diffusion.sampling import DEFAULT_SAMPLING, SamplingSettings
from deblur_tf.training.objectives.base import TrainingObjective
from deblur_tf.training.objectives.diffusion import Objective
from deblur_tf.training.optimizer import adam


@configurable
@resumable(
    *("total_steps", "log_every", "validate_every", "checkpoint_every", "keep_checkpoints"),
    *("validation_images", "accumulate", "steps_per_call", "jit_compile", "sampling"),
    "callbacks",
)
@dataclasses.dataclass(frozen=True)
class Recipe:
    """What to train, on what, and for how long. Counts are optimizer steps.

    Attributes:
      model: builds the model; the run's seed is set before it is called.
      pairs: builds what makes the training pairs; called when training starts.
      validation_pairs: builds the pairs of the validation grid, from images that training does
        not see; None: `pairs`, at numbers that training does not reach.
      optimizer: builds the optimizer.
      objective: the loss and its randomness.
      batch_size: global batch size; 256 in the papers.
      accumulate: number of parts into which each device splits its share of a batch; they
        are computed one after the other, with the same result in less memory.
      total_steps: length of the run.
      ema_decay: decay of the weight average used for evaluation; 0.9999 in DvSR.
      clip_norm: bound of the norm of the whole batch's gradient; the papers have none.
      seed: seed of the initial weights.
      log_every: steps between progress lines.
      sampling: settings with which the model is sampled; the validation grid is restored
        with them, one sample per picture, and they are saved with the model.
      validate_every: steps between validations.
      validation_images: pictures on the validation grid.
      checkpoint_every: steps between checkpoints.
      keep_checkpoints: how many of the newest checkpoints to keep, beside the best one.
      steps_per_call: optimizer steps in one call of JAX, without the host in between; must
        divide `total_steps`, `log_every`, `validate_every` and `checkpoint_every`.
      jit_compile: whether to compile the step with XLA (TensorFlow only; JAX always does).
      callbacks: each builds a `keras.callbacks.Callback` for the chief, see `CallbackLog`.
    """

    model: Callable[[], Any]
    pairs: Callable[[], PairSource]
    validation_pairs: Callable[[], PairSource] | None = None
    optimizer: Callable[[], Any] = adam
    objective: TrainingObjective = Objective()
    batch_size: int = 256
    accumulate: int = 1
    total_steps: int = 1_000_000
    ema_decay: float = 0.9999
    clip_norm: float | None = None
    seed: int = 0
    log_every: int = 100
    sampling: SamplingSettings = DEFAULT_SAMPLING
    validate_every: int = 5_000
    validation_images: int = 4
    checkpoint_every: int = 5_000
    keep_checkpoints: int = 3
    steps_per_call: int = 1
    jit_compile: bool = False
    callbacks: Sequence[Callable[[], Any]] = ()

    def __post_init__(self) -> None:
        for name in (
            "batch_size",
            "accumulate",
            "total_steps",
            "log_every",
            "validate_every",
            "checkpoint_every",
            "keep_checkpoints",
            "validation_images",
            "steps_per_call",
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number >= 1, got {value!r}")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(f"clip_norm must be positive or None, got {self.clip_norm!r}")
        for name in ("total_steps", "log_every", "validate_every", "checkpoint_every"):
            if getattr(self, name) % self.steps_per_call:
                raise ValueError(
                    f"{name} = {getattr(self, name)} must be a multiple of steps_per_call = "
                    f"{self.steps_per_call}"
                )
