"""One optimizer step, on TensorFlow (tf.distribute) or on JAX.

Both steppers own model, optimizer and EMA, and look alike to the loop: call
them with a batch and the step number, read `state()`, `restore()` it. The loss
they minimise is the same backend-neutral function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import keras
import numpy as np

from deblur_tf.training.ema import EMA, ema_decay, ema_update
from deblur_tf.training.objective import Objective
from deblur_tf.training.state import State, assign_named, named_variables, select

Metrics = dict[str, Any]
Builder = Callable[[], keras.Model]


class Stepper(Protocol):
    """What the training loop needs of a backend."""

    model: keras.Model

    def batches(self, make_pair: Callable, first_step: int) -> Iterator[Any]:
        """Endless batches for `__call__`, from a step on."""

    def __call__(self, batch: Any, step: int) -> Metrics:
        """Does optimizer step `step` (from 0); returns scalar metrics, lazily."""

    def state(self, step: int) -> State:
        """All that a restart needs, after `step` steps."""

    def restore(self, state: Mapping[str, np.ndarray], source: str) -> int:
        """Takes over a state; returns its step."""

    def averages(self) -> State:
        """The averaged weights by name."""

    def learning_rate(self) -> float:
        """That of the next step."""


class _Base:
    """Construction and state, shared by both backends."""

    def __init__(
        self,
        build_model: Builder,
        build_optimizer: Callable[[], keras.optimizers.Optimizer],
        objective: Objective,
        batch_size: int,
        ema_decay: float,
    ):
        self.objective = objective
        self.batch_size = batch_size
        self.model = build_model()
        if not self.model.built:
            self.model.build()
        self.optimizer = build_optimizer()
        self.optimizer.build(self.model.trainable_variables)
        self.ema = EMA(self.model, ema_decay)

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

    def averages(self) -> State:
        """The averaged weights by name."""
        return {
            name: keras.ops.convert_to_numpy(variable.value)
            for name, variable in self.ema.variables.items()
        }

    def learning_rate(self) -> float:
        """That of the next step."""
        return float(self.optimizer.learning_rate)


class TensorFlowStepper(_Base):
    """Training under a tf.distribute strategy.

    The batch is split over replicas; each replica's loss is the sum over its
    examples divided by the global batch, and the optimizer adds gradients up.
    """

    def __init__(
        self,
        build_model: Builder,
        build_optimizer: Callable[[], keras.optimizers.Optimizer],
        objective: Objective,
        batch_size: int,
        ema_decay: float,
        jit_compile: bool = False,
        strategy: Any = None,
    ):
        import tensorflow as tf

        self._tf = tf
        self.strategy = strategy or tf.distribute.get_strategy()
        replicas = self.strategy.num_replicas_in_sync
        if batch_size % replicas:
            raise ValueError(
                f"batch_size {batch_size} cannot be split over {replicas} replicas; "
                f"the nearest that can is {max(round(batch_size / replicas), 1) * replicas}"
            )
        with self.strategy.scope():
            super().__init__(build_model, build_optimizer, objective, batch_size, ema_decay)
        self.replica_step = tf.function(
            self._replica_step, autograph=False, jit_compile=jit_compile
        )
        self._distributed = tf.function(self._distributed_step, autograph=False)

    def batches(self, make_pair: Callable, first_step: int) -> Iterator[Any]:
        from deblur_tf.data import pipeline

        dataset = pipeline.pair_dataset(make_pair, self.batch_size, first_step)
        return iter(self.strategy.experimental_distribute_dataset(dataset))

    def _replica_step(self, batch: Mapping[str, Any], step: Any) -> Metrics:
        tf = self._tf
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            per_example = self.objective(
                self.model, batch["blurry"], batch["sharp"], step, batch["item"]
            )
            parts = {
                name: tf.reduce_sum(values) / self.batch_size
                for name, values in per_example.items()
            }
        gradients = tape.gradient(parts["loss"], variables)
        self.optimizer.apply(gradients, variables)
        self.ema.update(step)
        return parts

    def _distributed_step(self, batch: Any, step: Any) -> Metrics:
        tf = self._tf
        parts = self.strategy.run(self.replica_step, args=(batch, step))
        return {
            name: self.strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)
            for name, value in parts.items()
        }

    def __call__(self, batch: Any, step: int) -> Metrics:
        return self._distributed(batch, self._tf.constant(step, self._tf.int32))


class JaxStepper(_Base):
    """Training on one JAX device, for machines without TensorFlow."""

    def __init__(
        self,
        build_model: Builder,
        build_optimizer: Callable[[], keras.optimizers.Optimizer],
        objective: Objective,
        batch_size: int,
        ema_decay: float,
        workers: int = 2,
    ):
        import jax

        super().__init__(build_model, build_optimizer, objective, batch_size, ema_decay)
        self.workers = workers
        self._jitted = jax.jit(self._step, donate_argnums=(0, 1, 2))

    def batches(self, make_pair: Callable, first_step: int) -> Iterator[Any]:
        from deblur_tf.data import pairs

        return pairs.batches(make_pair, self.batch_size, first_step, self.workers)

    def loss(self, weights: Any, blurry: Any, sharp: Any, step: Any) -> tuple[Any, Metrics]:
        """Mean loss of a batch and its parts, as a pure function of the weights."""
        items = np.arange(self.batch_size, dtype=np.int32)
        mapping = list(zip(self.model.trainable_variables, weights, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            per_example = self.objective(self.model, blurry, sharp, step, items)
        parts = {
            name: keras.ops.sum(values) / self.batch_size for name, values in per_example.items()
        }
        return parts["loss"], parts

    def _step(
        self, weights: Any, optimizer: Any, average: Any, blurry: Any, sharp: Any, step: Any
    ) -> Any:
        import jax

        gradients, parts = jax.grad(self.loss, has_aux=True)(weights, blurry, sharp, step)
        weights, optimizer = self.optimizer.stateless_apply(optimizer, gradients, weights)
        decay = ema_decay(step, self.ema.decay)
        average = [ema_update(a, w, decay) for a, w in zip(average, weights, strict=True)]
        return weights, optimizer, average, parts

    def __call__(self, batch: Iterable[Any], step: int) -> Metrics:
        groups = (
            self.model.trainable_variables,
            self.optimizer.variables,
            list(self.ema.variables.values()),
        )
        values = [[v.value for v in group] for group in groups]
        *updated, parts = self._jitted(*values, *batch, np.int32(step))
        for group, new in zip(groups, updated, strict=True):
            for variable, value in zip(group, new, strict=True):
                variable.assign(value)
        return parts


def make_stepper(*args: Any, jit_compile: bool = False, strategy: Any = None) -> Stepper:
    """The stepper of the Keras backend in use; arguments as of the steppers."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return TensorFlowStepper(*args, jit_compile=jit_compile, strategy=strategy)
    if backend == "jax":
        return JaxStepper(*args)
    raise RuntimeError(
        f"training runs on the tensorflow or jax backend of Keras, not {backend!r}; "
        "set KERAS_BACKEND"
    )
