"""What Keras leaves to its backends: compiling a function, and a loop in the graph."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras


def compiled(model: keras.Model, fn: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function of tensors that uses the model's current weights."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(fn, autograph=False, reduce_retracing=True)
    if backend == "jax":
        import jax

        @jax.jit
        def pure(values: Sequence[Any], *args: Any) -> Any:
            mapping = list(zip(model.variables, values, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                return fn(*args)

        return lambda *args: pure([v.value for v in model.variables], *args)
    return fn


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
