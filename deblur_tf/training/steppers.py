"""One optimizer step, on TensorFlow (tf.distribute) or on JAX.

Both steppers own model, optimizer and EMA, and look alike to the loop: call
them with a batch and the step number, read `state()`, `restore()` it. The loss
they minimise is the same backend-neutral function.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import keras
import numpy as np

from deblur_tf.data.pairs import PairSource
from deblur_tf.training.distribution import Placement
from deblur_tf.training.ema import EMA, ema_decay, ema_update
from deblur_tf.training.recipe import Recipe
from deblur_tf.training.state import State, assign_named, named_variables, select

Metrics = dict[str, Any]


class Stepper(Protocol):
    """What the training loop needs of a backend.

    Attributes:
      workers: processes that train together.
      chief: whether this one writes checkpoints and reports.
    """

    model: keras.Model
    workers: int
    chief: bool

    def batches(self, pairs: PairSource, first_step: int) -> Iterator[Any]:
        """Endless batches for `__call__`, from a step on."""

    def steps(self, step: int) -> int:
        """How many optimizer steps the call for `step` does."""

    def __call__(self, batch: Any, step: int) -> Metrics:
        """Does the optimizer steps from `step` on (from 0).

        Returns metrics, lazily: a scalar each, or [steps].
        """

    def state(self, step: int) -> State:
        """All that a restart needs, after `step` steps."""

    def restore(self, state: Mapping[str, np.ndarray], source: str) -> int:
        """Takes over a state; returns its step."""

    def averages(self) -> State:
        """The averaged weights by name."""

    def learning_rate(self) -> float:
        """That of the next step."""

    def sum_over_workers(self, value: float) -> float:
        """The sum of a number over all processes; each of them must ask."""


class _Base:
    """Construction and state, shared by both backends."""

    def __init__(self, recipe: Recipe, placement: Placement):
        self.objective = recipe.objective
        self.batch_size = recipe.batch_size
        self.accumulate = recipe.accumulate
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

    def _named(self) -> dict[str, dict[str, keras.Variable]]:
        optimizer = {v.path.split("/", 1)[1]: v for v in self.optimizer.variables}
        return {
            "model": named_variables(self.model),
            "ema": self.ema.variables,
            "optimizer": optimizer,
        }

    def state(self, step: int) -> State:
        arrays = {
            f"{group}/{name}": keras.ops.convert_to_numpy(variable.value)
            for group, variables in self._named().items()
            for name, variable in variables.items()
        }
        return arrays | {"step": np.int64(step)}

    def restore(self, state: Mapping[str, np.ndarray], source: str) -> int:
        for group, variables in self._named().items():
            assign_named(variables, select(state, group), f"{source} ({group})")
        return int(state["step"])

    def steps(self, step: int) -> int:
        """How many optimizer steps the call for `step` does."""
        # After a resume at an odd step, up to the next multiple.
        return self.steps_per_call - step % self.steps_per_call

    def averages(self) -> State:
        """The averaged weights by name."""
        return {
            name: keras.ops.convert_to_numpy(variable.value)
            for name, variable in self.ema.variables.items()
        }

    def learning_rate(self) -> float:
        """That of the next step."""
        return float(self.optimizer.learning_rate)


def check_split(batch_size: int, replicas: int, accumulate: int) -> None:
    """Refuses a global batch that cannot be shared out evenly.

    Raises:
      ValueError: naming the nearest batch size that can.
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


class TensorFlowStepper(_Base):
    """Training under a tf.distribute strategy.

    The batch is split over replicas, and a replica's share into `accumulate`
    parts. A part's loss is the sum over its examples divided by the global
    batch; gradients add up over parts here and over replicas in the optimizer.
    """

    def __init__(self, recipe: Recipe, placement: Placement | None = None):
        import tensorflow as tf

        self._tf = tf
        placement = placement or Placement(tf.distribute.get_strategy())
        self.strategy = placement.strategy
        with self.strategy.scope():
            super().__init__(recipe, placement)
        self.replica_step = tf.function(
            self._replica_step, autograph=False, jit_compile=recipe.jit_compile
        )
        self._distributed = tf.function(self._distributed_step, autograph=False)
        self._summed = tf.function(self._sum, autograph=False)

    def batches(self, pairs: PairSource, first_step: int) -> Iterator[Any]:
        from deblur_tf.data import pipeline
        from deblur_tf.data.photos import DataError

        tf = self._tf
        failures: list[DataError] = []

        def make(context: Any) -> Any:
            count = self.batch_size // context.num_input_pipelines
            first = context.input_pipeline_id * count
            return pipeline.pair_dataset(
                pairs,
                self.batch_size,
                first_step,
                range(first, first + count),
                context.get_per_replica_batch_size(self.batch_size),
                failures,
            )

        iterator = iter(self.strategy.distribute_datasets_from_function(make))
        while True:
            try:
                batch = next(iterator)
            except tf.errors.OpError:
                if failures:
                    raise failures[0] from None
                raise
            yield batch

    def _replica_step(self, batch: Mapping[str, Any], step: Any) -> Metrics:
        gradients, parts = self._gradients(batch, step)
        self.optimizer.apply(gradients, self.model.trainable_variables)
        self.ema.update(step)
        return parts

    def _gradients(self, batch: Mapping[str, Any], step: Any) -> tuple[list[Any], Metrics]:
        """Of a replica's share of the batch, in `accumulate` parts."""
        tf = self._tf
        if self.accumulate == 1:
            return self._gradients_at_once(batch, step)

        def add(i: Any, gradients: list[Any], sums: Metrics) -> tuple[Any, list[Any], Metrics]:
            part = {name: values[i] for name, values in parted.items()}
            more, terms = self._gradients_at_once(part, step)
            gradients = [a + tf.convert_to_tensor(b) for a, b in zip(gradients, more, strict=True)]
            return i + 1, gradients, {name: sums[name] + terms[name] for name in sums}

        parted = {
            name: tf.reshape(values, [self.accumulate, -1, *values.shape[1:]])
            for name, values in batch.items()
        }
        zeros = [tf.zeros(v.shape, v.dtype) for v in self.model.trainable_variables]
        sums = {name: tf.zeros([]) for name in self.objective.terms(self.model)}
        _, gradients, sums = tf.while_loop(
            lambda i, *_: i < self.accumulate,
            add,
            (tf.constant(0), zeros, sums),
            maximum_iterations=self.accumulate,
            parallel_iterations=1,
        )
        return gradients, sums

    def _gradients_at_once(self, batch: Mapping[str, Any], step: Any) -> tuple[list[Any], Metrics]:
        tf = self._tf
        with tf.GradientTape() as tape:
            per_example = self.objective(
                self.model, batch["blurry"], batch["sharp"], step, batch["item"]
            )
            parts = {
                name: tf.reduce_sum(values) / self.batch_size
                for name, values in per_example.items()
            }
        return tape.gradient(parts["loss"], self.model.trainable_variables), parts

    def _distributed_step(self, batch: Any, step: Any) -> Metrics:
        parts = self.strategy.run(self.replica_step, args=(batch, step))
        return {name: self._reduce(value) for name, value in parts.items()}

    def _reduce(self, value: Any) -> Any:
        return self.strategy.reduce(self._tf.distribute.ReduceOp.SUM, value, axis=None)

    def _sum(self, value: Any) -> Any:
        """Over all replicas, each of which has its process's value."""
        return self._reduce(self.strategy.run(self._tf.identity, args=(value,)))

    def sum_over_workers(self, value: float) -> float:
        """The sum of a number over all processes; each of them must ask."""
        if self.workers == 1:
            return value
        local_replicas = self.strategy.num_replicas_in_sync // self.workers
        total = self._summed(self._tf.constant(float(value)))
        return float(total) / local_replicas

    def __call__(self, batch: Any, step: int) -> Metrics:
        return self._distributed(batch, self._tf.constant(step, self._tf.int32))


class JaxStepper(_Base):
    """Training on one JAX device, for machines without TensorFlow.

    The state lies on the device between calls; Keras' variables are filled where they
    are read: for checkpoints, averages and the learning rate. `steps_per_call` steps
    are one compiled program, in which pairs of a `device.DevicePairSource` are made too.
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

        return jax.jit(self._scan, static_argnums=4, donate_argnums=0)

    def _groups(self) -> tuple[list[keras.Variable], ...]:
        """The variables that a step changes: weights, optimizer, averages."""
        return (
            self.model.trainable_variables,
            self.optimizer.variables,
            list(self.ema.variables.values()),
        )

    def _read(self) -> list[list[Any]]:
        # Copies: what is donated to a step must not be a variable's own value.
        return [[keras.ops.copy(v.value) for v in group] for group in self._groups()]

    def _fill(self) -> None:
        """Gives the variables copies of the values on the device."""
        for group, values in zip(self._groups(), self._values, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(keras.ops.copy(value))

    def state(self, step: int) -> State:
        """All that a restart needs, after `step` steps."""
        self._fill()
        return super().state(step)

    def restore(self, state: Mapping[str, np.ndarray], source: str) -> int:
        """Takes over a state; returns its step."""
        step = super().restore(state, source)
        self._values = self._read()
        return step

    def averages(self) -> State:
        """The averaged weights by name."""
        self._fill()
        return super().averages()

    def learning_rate(self) -> float:
        """That of the next step."""
        iterations = self.optimizer.iterations
        for variable, value in zip(self.optimizer.variables, self._values[1], strict=True):
            if variable is iterations:
                variable.assign(keras.ops.copy(value))
        return super().learning_rate()

    def batches(self, pairs: PairSource, first_step: int) -> Iterator[Any]:
        """Stacked batches for each call; of pairs made on the device, nothing."""
        import jax

        from deblur_tf.data.pairs import batches

        if hasattr(pairs, "make"):
            self._source = pairs
            self._arrays = jax.device_put(pairs.arrays())
            self._jitted = self._compiled()
            return itertools.repeat(())
        self._source, self._arrays = None, {}
        self._jitted = self._compiled()
        single = batches(pairs, self.batch_size, first_step, self.loader_threads)
        return self._stacked(single, first_step)

    def _stacked(self, single: Iterator[Any], step: int) -> Iterator[Any]:
        with contextlib.closing(single):
            while True:
                count = self.steps(step)
                blurry, sharp = zip(*itertools.islice(single, count), strict=True)
                step += count
                yield np.stack(blurry), np.stack(sharp)

    def sum_over_workers(self, value: float) -> float:
        """There is one process."""
        return value

    def loss(
        self, weights: Any, blurry: Any, sharp: Any, step: Any, items: Any
    ) -> tuple[Any, Metrics]:
        """Loss of a part of the batch and its terms: a pure function of the weights.

        Sums over the examples divided by the global batch size.
        """
        mapping = list(zip(self.model.trainable_variables, weights, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            per_example = self.objective(self.model, blurry, sharp, step, items)
        parts = {
            name: keras.ops.sum(values) / self.batch_size for name, values in per_example.items()
        }
        return parts["loss"], parts

    def _gradients(self, weights: Any, blurry: Any, sharp: Any, step: Any) -> tuple[Any, Metrics]:
        import jax

        gradient = jax.grad(self.loss, has_aux=True)
        items = np.arange(self.batch_size, dtype=np.int32)
        if self.accumulate == 1:
            return gradient(weights, blurry, sharp, step, items)

        def add(total: Any, part: Any) -> tuple[Any, Metrics]:
            blurry, sharp, items = part
            more, terms = gradient(weights, blurry, sharp, step, items)
            return jax.tree.map(lambda a, b: a + b, total, more), terms

        parted = [x.reshape(self.accumulate, -1, *x.shape[1:]) for x in (blurry, sharp, items)]
        zeros = jax.tree.map(lambda w: 0.0 * w, weights)
        total, terms = jax.lax.scan(add, zeros, parted)
        return total, {name: values.sum() for name, values in terms.items()}

    def _step(self, values: Any, blurry: Any, sharp: Any, step: Any) -> tuple[Any, Metrics]:
        weights, optimizer, average = values
        gradients, parts = self._gradients(weights, blurry, sharp, step)
        weights, optimizer = self.optimizer.stateless_apply(optimizer, gradients, weights)
        decay = ema_decay(step, self.ema.decay)
        average = [ema_update(a, w, decay) for a, w in zip(average, weights, strict=True)]
        return [list(weights), list(optimizer), average], parts

    def _scan(
        self, values: Any, arrays: Any, batches: Any, first_step: Any, count: int
    ) -> tuple[Any, Metrics]:
        import jax

        def one(values: Any, inputs: Any) -> tuple[Any, Metrics]:
            step, batch = inputs
            if self._source is not None:
                items = np.arange(self.batch_size, dtype=np.int32)
                batch = self._source.make(arrays, step * self.batch_size + items)
            return self._step(values, *batch, step)

        steps = first_step + np.arange(count, dtype=np.int32)
        if count == 1:  # a loop of one would compile more slowly
            first = jax.tree.map(lambda x: x[0], (steps, batches))
            values, parts = one(values, first)
            return values, jax.tree.map(lambda x: x[None], parts)
        return jax.lax.scan(one, values, (steps, batches))

    def lower(self, *batch: Any) -> Any:
        """The call for step 0, as JAX stages it before compiling.

        batch: blurry and sharp, uint8 [steps, B, H, W, 3] each.
        """
        return self._jitted.lower(self._values, self._arrays, batch, np.int32(0), self.steps(0))

    def __call__(self, batch: Any, step: int) -> Metrics:
        self._values, parts = self._jitted(
            self._values, self._arrays, tuple(batch), np.int32(step), self.steps(step)
        )
        return parts


def make_stepper(recipe: Recipe, placement: Placement | None = None) -> Stepper:
    """The stepper of the Keras backend in use, on the devices given."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return TensorFlowStepper(recipe, placement)
    if backend == "jax":
        return JaxStepper(recipe)
    raise RuntimeError(
        f"training runs on the tensorflow or jax backend of Keras, not {backend!r}; "
        "set KERAS_BACKEND"
    )
