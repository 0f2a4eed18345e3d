"""What the training loop needs from a backend, and what both backends share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from deblur_tf.base.errors import CheckpointError
from deblur_tf.data.pair_source import PairSource
from deblur_tf.storage.arrays import (
    Arrays,
    assign_named,
    frozen_variables,
    named_variables,
    parts_of,
    select,
    values_of,
)
from deblur_tf.training.distribution import Placement
from deblur_tf.training.ema import EMA
from deblur_tf.training.recipe import Recipe

Metrics = dict[str, Any]


class Stepper:
    """Model, optimizer and averages of a training run; subclasses do the optimizer steps.

    Attributes:
      workers: processes that train together.
      chief: whether this process writes checkpoints and reports.
    """

    def __init__(self, recipe: Recipe, placement: Placement):
        self.objective = recipe.objective
        self.batch_size = recipe.batch_size
        self.accumulate = recipe.accumulate
        self.clip_norm = recipe.clip_norm
        self.steps_per_call = 1
        self.workers = placement.workers
        self.chief = placement.chief
        check_split(recipe.batch_size, placement.replicas, recipe.accumulate)
        keras.utils.set_random_seed(recipe.seed)
        self.model = recipe.model()
        if not self.model.built:
            self.model.build()
        self.optimizer = recipe.optimizer()
        self.optimizer.build(self.model.trainable_variables)
        self.ema = EMA(self.model, recipe.ema_decay)

    def batches(self, pairs: PairSource, first_step: int) -> Iterator[Any]:
        """Endless batches for `__call__`, from a step on."""
        raise NotImplementedError

    def __call__(self, batch: Any, step: int) -> Metrics:
        """Does `steps(step)` optimizer steps, the first of which is number `step`, from 0.

        Returns metrics that may still be computed: each is a scalar, or [steps].
        """
        raise NotImplementedError

    def sum_over_workers(self, value: float) -> float:
        """The sum of a number over all processes; each of them must call this."""
        raise NotImplementedError

    def steps(self, step: int) -> int:
        """How many optimizer steps the call for `step` does."""
        # After a resume at an odd step, up to the next multiple.
        return self.steps_per_call - step % self.steps_per_call

    def clipped(self, gradients: Sequence[Any]) -> list[Any]:
        """Gradients of the whole batch, scaled down if their norm is too large."""
        return clip_by_global_norm(gradients, self.clip_norm)

    def _named(self) -> dict[str, dict[str, keras.Variable]]:
        optimizer = {v.path.split("/", 1)[1]: v for v in self.optimizer.variables}
        return {
            "model": named_variables(self.model, trainable_only=True),
            "ema": self.ema.variables,
            "optimizer": optimizer,
        }

    def state(self, step: int) -> Arrays:
        """All that a restart after `step` steps needs, except for frozen weights."""
        arrays = {
            f"{group}/{name}": value
            for group, variables in self._named().items()
            for name, value in values_of(variables).items()
        }
        return arrays | {"step": np.asarray(step, np.int64)}

    def restore(self, state: Mapping[str, np.ndarray], source: str) -> int:
        """Takes over a state; returns its step."""
        for group, variables in self._named().items():
            assign_named(variables, select(state, group), f"{source} ({group})")
        return int(state["step"])

    def start_from(self, weights: Arrays, source: str) -> list[str]:
        """Takes over the weights of another model's parts, for the model and the averages.

        Parts of the other model that this one lacks are passed over. Returns the names of the
        parts for which it had no weights; see `Restorer.start`.

        Raises:
          CheckpointError: if the models share no part, or weights of a shared part do not fit.
        """
        named = named_variables(self.model)
        parts = parts_of(named)
        weights = {n: w for n, w in weights.items() if n.split("/")[0] in parts}
        if not weights:
            raise CheckpointError(
                f"{source}: has none of the model's parts, which are {', '.join(sorted(parts))}"
            )
        assign_named({n: v for n, v in named.items() if n in weights}, weights, source)
        new = sorted(parts_of(named.keys() - weights.keys()))
        self.model.start(new)
        for name, average in self.ema.variables.items():
            average.assign(named[name].value)
        return new

    def frozen(self) -> Arrays:
        """The weights that training does not change, by name."""
        return values_of(frozen_variables(self.model))

    def freeze(self, weights: Arrays, source: str) -> None:
        """Takes over what `frozen` returned."""
        assign_named(frozen_variables(self.model), weights, source)

    def averages(self) -> Arrays:
        """The averaged weights by name."""
        return values_of(self.ema.variables)

    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        return float(self.optimizer.learning_rate)


def clip_by_global_norm(gradients: Sequence[Any], norm: float | None) -> list[Any]:
    """g * min(1, norm / |g|), |g| being the norm over all arrays; if `norm` is None, g."""
    if norm is None:
        return list(gradients)
    gradients = [keras.ops.convert_to_tensor(g) for g in gradients]
    squares = sum(keras.ops.sum(keras.ops.square(g)) for g in gradients)
    scale = norm / keras.ops.maximum(keras.ops.sqrt(squares), norm)
    return [scale * g for g in gradients]


def check_split(batch_size: int, replicas: int, accumulate: int) -> None:
    """Refuses a global batch that cannot be split evenly.

    Raises:
      ValueError: naming the nearest batch size that can be split.
    """
    parts = replicas * accumulate
    if batch_size % parts:
        ways = f"{replicas} replicas" if accumulate == 1 else f"{replicas} x {accumulate} parts"
        nearest = max(round(batch_size / parts), 1) * parts
        raise ValueError(
            f"batch_size {batch_size} cannot be split over {ways}"
            f"{'' if accumulate == 1 else ' (replicas x accumulate)'}; "
            f"the nearest that can is {nearest}"
        )
