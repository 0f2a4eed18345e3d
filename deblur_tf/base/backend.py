"""What Keras leaves to its backends: compiling a function, and when not to."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras


@contextlib.contextmanager
def without_values() -> Iterator[None]:
    """Models built within have shapes alone: the largest take no memory and little time."""
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        keras.utils.clear_session()  # else the next scope that ends would give them values


def compiled(model: keras.Model, fn: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function of tensors that uses the model's current weights.

    On TensorFlow one graph serves all sizes: were some compiled for their size, a result
    could differ in its last bits with what was compiled before it.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return _any_size(fn)
    if backend == "jax":
        import jax

        @jax.jit
        def pure(values: Sequence[Any], *args: Any) -> Any:
            mapping = list(zip(model.variables, values, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                return fn(*args)

        return lambda *args: pure([v.value for v in model.variables], *args)
    return fn


def _any_size(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A TensorFlow graph whose tensors have a fixed rank, and a fixed last axis from rank 2 on."""
    import tensorflow as tf

    traced = tf.function(lambda *args: fn(*args), autograph=False)
    graphs: dict[Any, Any] = {}

    def spec(x: Any) -> Any:
        free = x.shape.rank if x.shape.rank < 2 else x.shape.rank - 1
        return tf.TensorSpec([None] * free + list(x.shape[free:]), x.dtype)

    def call(*args: Any) -> Any:
        if tf.config.functions_run_eagerly():
            return fn(*args)
        args = tf.nest.map_structure(tf.convert_to_tensor, args)
        specs = tf.nest.map_structure(spec, args)
        key = str(specs)
        if key not in graphs:
            graphs[key] = traced.get_concrete_function(*specs)
        return graphs[key](*args)

    return call


def cond(predicate: Any, true: Callable[[], Any], false: Callable[[], Any]) -> Any:
    """`ops.cond`, decided by Python where the predicate has a value already.

    So that what is called may be more than a graph can hold.
    """
    if keras.backend.backend() == "jax":
        import jax.core

        if not isinstance(predicate, jax.core.Tracer):
            return true() if predicate else false()
    return keras.ops.cond(predicate, true, false)


@contextlib.contextmanager
def eagerly() -> Iterator[None]:
    """Within, nothing is compiled: quicker for a few small steps."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        before = tf.config.functions_run_eagerly()
        tf.config.run_functions_eagerly(True)
        try:
            yield
        finally:
            tf.config.run_functions_eagerly(before)
    elif backend == "jax":
        import jax

        with jax.disable_jit():
            yield
    else:
        yield
