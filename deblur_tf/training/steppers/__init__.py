"""Optimizer steps, on TensorFlow (tf.distribute) or on JAX.

Both steppers own model, optimizer and EMA, and have the same interface: the loop calls
them with a batch and the step number, saves `state()` and restores it by `restore()`. Both
minimise the same backend-neutral loss.
"""

from __future__ import annotations

import keras

from deblur_tf.training.distribution import Placement
from deblur_tf.training.recipe import Recipe
from deblur_tf.training.steppers.base import Stepper, check_split
from deblur_tf.training.steppers.jax import JaxStepper
from deblur_tf.training.steppers.tensorflow import TensorFlowStepper

__all__ = ["JaxStepper", "Stepper", "TensorFlowStepper", "check_split", "make_stepper"]


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
