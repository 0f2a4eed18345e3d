"""What Keras leaves to its backends: compiling functions, or running them uncompiled."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras


@contextlib.contextmanager
def shapes_only() -> Iterator[None]:
    """Context in which models are built with variable shapes only: no memory, little time."""
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        keras.utils.clear_session()  # else the next scope would initialise them


def compiled(model: keras.Model, fn: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function of tensors that uses the model's current weights.

    On TensorFlow one graph serves all image sizes. With graphs specialised by size, the last
    bits of a result could depend on which sizes had been compiled before.
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
    """Compiles `fn` to TensorFlow graphs that fix only the rank and, from rank 2, the last axis."""
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
    """`ops.cond`, evaluated in Python where the predicate already has a value.

    The branches may then run code that a graph cannot contain.
    """
    if keras.backend.backend() == "jax":
        import jax.core

        if not isinstance(predicate, jax.core.Tracer):
            return true() if predicate else false()
    return keras.ops.cond(predicate, true, false)


@contextlib.contextmanager
def eagerly() -> Iterator[None]:
    """Context in which nothing is compiled: faster for a few small steps."""
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
