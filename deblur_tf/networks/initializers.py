"""Initial weights, drawn by NumPy: the same on every backend, and nothing to compile."""

from __future__ import annotations

import math
import random
from typing import Any

import keras
import numpy as np
from keras import ops

from deblur_tf.base.registry import configurable
from deblur_tf.base.types import Tensor


@configurable
class GlorotUniform(keras.initializers.Initializer):
    """U(-a, a), a = scale * sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010, with scale 1).

    On JAX, Keras' own initialiser is compiled anew for each shape, which takes a second each, and
    draws other numbers than on TensorFlow.

    Args:
      seed: seed of the draw; None takes the next number of Python's generator, which
        `keras.utils.set_random_seed` seeds.
      scale: factor for all weights: below 1 for heads that should begin near zero but not at it.
    """

    def __init__(self, seed: int | None = None, scale: float = 1.0):
        self.seed = random.randrange(2**31) if seed is None else seed
        self.scale = scale

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Tensor:
        """A tensor of `shape`: (..., inputs, outputs), kernel positions first."""
        positions = math.prod(shape[:-2])
        limit = self.scale * math.sqrt(6.0 / (positions * (shape[-2] + shape[-1])))
        values = np.random.default_rng(self.seed).uniform(-limit, limit, shape)
        return ops.convert_to_tensor(values.astype("float32"), dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed, "scale": self.scale}
