"""Optimizer steps on one JAX device; several of them may be one compiled program."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from deblur_tf.data.input import threads
from deblur_tf.data.input.batch import Batch
from deblur_tf.data.pair_source import DevicePairSource, PairSource
from deblur_tf.storage.arrays import Arrays
from deblur_tf.training.distribution import Placement
from deblur_tf.training.ema import ema_decay, ema_update
from deblur_tf.training.recipe import Recipe
from deblur_tf.training.steppers.base import Metrics, Stepper


class JaxStepper(Stepper):
    """Training on one JAX device, for machines without TensorFlow.

    The state stays on the device between calls; Keras' variables are updated only when they
    are read: for checkpoints, averages and the learning rate. `steps_per_call` steps
    are one compiled program, which also makes the pairs of a `device.DevicePairSource`.
    """

    def __init__(self, recipe: Recipe, loader_threads: int = 2):
        super().__init__(recipe, Placement())
        self.steps_per_call = recipe.steps_per_call
        self.loader_threads = loader_threads
        self._source: Any = None
        self._arrays: Any = {}
        self._values = self._read()
        self._jitted = self._compiled()

    def _compiled(self) -> Any:
        """`_scan` for the present source of pairs."""
        import jax

        return jax.jit(self._scan, static_argnums=5, donate_argnums=0)

    def _groups(self) -> tuple[list[keras.Variable], ...]:
        """The variables that a step changes: weights, optimizer, averages."""
        return (
            self.model.trainable_variables,
            self.optimizer.variables,
            list(self.ema.variables.values()),
        )

    def _read(self) -> list[list[Any]]:
        # Copies, since a step consumes the donated arrays, which variables must keep.
        return [[keras.ops.copy(v.value) for v in group] for group in self._groups()]

    def _frozen(self) -> list[Any]:
        """Values of the frozen weights; arguments of each call, since they are not compiled in."""
        return [v.value for v in self.model.non_trainable_variables]

    def _fill(self) -> None:
        """Gives the variables copies of the values on the device."""
        for group, values in zip(self._groups(), self._values, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(keras.ops.copy(value))

    def state(self, step: int) -> Arrays:
        """All that a restart needs, after `step` steps."""
        self._fill()
        return super().state(step)

    def restore(self, state: Mapping[str, np.ndarray], source: str) -> int:
        """Takes over a state; returns its step."""
        step = super().restore(state, source)
        self._values = self._read()
        return step

    def start_from(self, weights: Arrays, source: str) -> list[str]:
        """See `Stepper.start_from`."""
        new = super().start_from(weights, source)
        self._values = self._read()
        return new

    def averages(self) -> Arrays:
        """The averaged weights by name."""
        self._fill()
        return super().averages()

    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        iterations = self.optimizer.iterations
        for variable, value in zip(self.optimizer.variables, self._values[1], strict=True):
            if variable is iterations:
                variable.assign(keras.ops.copy(value))
        return super().learning_rate()

    def batches(self, pairs: PairSource, first_step: int) -> Iterator[Batch | None]:
        """Stacked batches for each call; None for each if pairs are made on the device."""
        import jax

        self._source = pairs if isinstance(pairs, DevicePairSource) else None
        self._arrays = {} if self._source is None else jax.device_put(self._source.arrays())
        self._jitted = self._compiled()
        if self._source is not None:
            return itertools.repeat(None)
        return threads.stacked(pairs, self.batch_size, first_step, self.steps, self.loader_threads)

    def sum_over_workers(self, value: float) -> float:
        """The value itself, since there is only one process."""
        return value

    def loss(self, weights: Any, frozen: Any, batch: Batch, step: Any) -> tuple[Any, Metrics]:
        """The loss of a part of the batch, and its terms: a pure function of the weights.

        Each is a sum over the examples, divided by the global batch size.
        """
        variables = self.model.trainable_variables + self.model.non_trainable_variables
        mapping = list(zip(variables, [*weights, *frozen], strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            per_example = self.objective(self.model, batch.blurry, batch.sharp, step, batch.item)
        parts = {
            name: keras.ops.sum(values) / self.batch_size for name, values in per_example.items()
        }
        return parts["loss"], parts

    def _gradients(self, weights: Any, frozen: Any, batch: Batch, step: Any) -> tuple[Any, Metrics]:
        import jax

        gradient = jax.grad(self.loss, has_aux=True)
        if self.accumulate == 1:
            return gradient(weights, frozen, batch, step)

        def add(total: Any, part: Batch) -> tuple[Any, Metrics]:
            more, terms = gradient(weights, frozen, part, step)
            return jax.tree.map(lambda a, b: a + b, total, more), terms

        parted = Batch(*(x.reshape(self.accumulate, -1, *x.shape[1:]) for x in batch))
        zeros = jax.tree.map(lambda w: 0.0 * w, weights)
        total, terms = jax.lax.scan(add, zeros, parted)
        return total, {name: values.sum() for name, values in terms.items()}

    def _step(self, values: Any, frozen: Any, batch: Batch, step: Any) -> tuple[Any, Metrics]:
        weights, optimizer, average = values
        gradients, parts = self._gradients(weights, frozen, batch, step)
        weights, optimizer = self.optimizer.stateless_apply(
            optimizer, self.clipped(gradients), weights
        )
        decay = ema_decay(step, self.ema.decay)
        average = [ema_update(a, w, decay) for a, w in zip(average, weights, strict=True)]
        return [list(weights), list(optimizer), average], parts

    def _scan(
        self, values: Any, frozen: Any, arrays: Any, batches: Any, first_step: Any, count: int
    ) -> tuple[Any, Metrics]:
        import jax

        def one(values: Any, inputs: Any) -> tuple[Any, Metrics]:
            step, batch = inputs
            if self._source is not None:
                items = np.arange(self.batch_size, dtype=np.int32)
                numbers = step * self.batch_size + items
                blurry, sharp = self._source.make(arrays, numbers)
                batch = Batch(blurry, sharp, items)
            return self._step(values, frozen, batch, step)

        steps = first_step + np.arange(count, dtype=np.int32)
        if count == 1:  # a loop of one would compile more slowly
            first = jax.tree.map(lambda x: x[0], (steps, batches))
            values, parts = one(values, first)
            return values, jax.tree.map(lambda x: x[None], parts)
        return jax.lax.scan(one, values, (steps, batches))

    def lower(self, batch: Batch) -> Any:
        """The call for step 0 as lowered by JAX, before it is compiled."""
        return self._jitted.lower(
            self._values, self._frozen(), self._arrays, batch, np.int32(0), self.steps(0)
        )

    def __call__(self, batch: Batch | None, step: int) -> Metrics:
        self._values, parts = self._jitted(
            self._values, self._frozen(), self._arrays, batch, np.int32(step), self.steps(step)
        )
        return {"loss": parts.pop("loss"), **parts}
