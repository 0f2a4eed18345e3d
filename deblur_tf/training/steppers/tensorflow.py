"""One optimizer step on TensorFlow, under a tf.distribute strategy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from deblur_tf.data.input.batch import Batch
from deblur_tf.data.pair_source import PairSource
from deblur_tf.training.distribution import Placement
from deblur_tf.training.recipe import Recipe
from deblur_tf.training.steppers.base import Metrics, Stepper


class TensorFlowStepper(Stepper):
    """Training under a tf.distribute strategy.

    The batch is split over replicas, and a replica's share into `accumulate`
    parts. A part's loss is the sum over its examples divided by the global
    batch size; gradients are summed over parts here and over replicas in the optimizer.
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
        """Endless batches for `__call__`, from a step on."""
        from deblur_tf.data.input import tensorflow

        return tensorflow.distributed(self.strategy, pairs, self.batch_size, first_step)

    def _replica_step(self, batch: Batch, step: Any) -> Metrics:
        gradients, parts = self._gradients(batch, step)
        if self.clip_norm is not None:
            # The norm is the norm of the whole batch's gradient, so gradients are summed over
            # replicas first. The optimizer sums once more, hence the division by `count`.
            replicas = self._tf.distribute.get_replica_context()
            gradients = replicas.all_reduce(self._tf.distribute.ReduceOp.SUM, gradients)
            count = replicas.num_replicas_in_sync
            gradients = [g / count for g in self.clipped(gradients)]
        self.optimizer.apply(gradients, self.model.trainable_variables)
        self.ema.update(step)
        return parts

    def _gradients(self, batch: Batch, step: Any) -> tuple[list[Any], Metrics]:
        """Gradients and loss terms of a replica's share of the batch, in `accumulate` parts."""
        tf = self._tf
        if self.accumulate == 1:
            return self._gradients_at_once(batch, step)

        def add(i: Any, gradients: list[Any], sums: Metrics) -> tuple[Any, list[Any], Metrics]:
            part = Batch(*(values[i] for values in parted))
            more, terms = self._gradients_at_once(part, step)
            gradients = [a + tf.convert_to_tensor(b) for a, b in zip(gradients, more, strict=True)]
            return i + 1, gradients, {name: sums[name] + terms[name] for name in sums}

        parted = [tf.reshape(x, [self.accumulate, -1, *x.shape[1:]]) for x in batch]
        zeros = [tf.zeros(v.shape, v.dtype) for v in self.model.trainable_variables]
        sums = {name: tf.zeros([]) for name in self._figure_names(batch)}
        _, gradients, sums = tf.while_loop(
            lambda i, *_: i < self.accumulate,
            add,
            (tf.constant(0), zeros, sums),
            maximum_iterations=self.accumulate,
            parallel_iterations=1,
        )
        return gradients, sums

    def _figure_names(self, batch: Batch) -> list[str]:
        """Names of what the objective returns, found on shapes alone."""
        stepper = self

        class Figures(keras.Operation):
            def call(self, blurry: Any, sharp: Any, items: Any) -> Any:
                step = stepper._tf.constant(0)
                return stepper.objective(stepper.model, blurry, sharp, step, items)

        spec = (keras.KerasTensor(x.shape, x.dtype.name) for x in batch)
        return list(Figures().compute_output_spec(*spec))

    def _gradients_at_once(self, batch: Batch, step: Any) -> tuple[list[Any], Metrics]:
        tf = self._tf
        with tf.GradientTape() as tape:
            per_example = self.objective(self.model, batch.blurry, batch.sharp, step, batch.item)
            parts = {
                name: tf.reduce_sum(values) / self.batch_size
                for name, values in per_example.items()
            }
        weights = self.model.trainable_variables
        gradients = tape.gradient(parts["loss"], weights)
        # Weights that do not affect this loss get zero gradients.
        reached = zip(gradients, weights, strict=True)
        return [tf.zeros(w.shape, w.dtype) if g is None else g for g, w in reached], parts

    def _distributed_step(self, batch: Any, step: Any) -> Metrics:
        parts = self.strategy.run(self.replica_step, args=(batch, step))
        return {name: self._reduce(value) for name, value in parts.items()}

    def _reduce(self, value: Any) -> Any:
        return self.strategy.reduce(self._tf.distribute.ReduceOp.SUM, value, axis=None)

    def _sum(self, value: Any) -> Any:
        """The sum over all replicas, each of which holds the value of its process."""
        return self._reduce(self.strategy.run(self._tf.identity, args=(value,)))

    def sum_over_workers(self, value: float) -> float:
        """The sum of a number over all processes; each of them must call this."""
        if self.workers == 1:
            return value
        local_replicas = self.strategy.num_replicas_in_sync // self.workers
        total = self._summed(self._tf.constant(float(value)))
        return float(total) / local_replicas

    def __call__(self, batch: Any, step: int) -> Metrics:
        return self._distributed(batch, self._tf.constant(step, self._tf.int32))
