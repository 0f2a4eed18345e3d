"""Which devices a TensorFlow training run uses."""

from __future__ import annotations

from typing import Any

import keras


def choose() -> Any:
    """MirroredStrategy on several GPUs, else one device; None on JAX."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    gpus = tf.config.list_logical_devices("GPU")
    if len(gpus) > 1:
        return tf.distribute.MirroredStrategy([gpu.name for gpu in gpus])
    return tf.distribute.get_strategy()


def describe(strategy: Any) -> str:
    """One phrase for the first line of a run."""
    if strategy is None:
        return "one device"
    count = strategy.num_replicas_in_sync
    return "one device" if count == 1 else f"{type(strategy).__name__}, {count} replicas"
