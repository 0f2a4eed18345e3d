"""What a training takes, before it starts: operations, memory and time."""

from __future__ import annotations

import keras

from deblur_tf.models.flops import count_flops, training_bytes
from deblur_tf.training.recipe import Recipe

# Operations per second that a device is taken to reach, for estimates of time.
RATE = 40e12
# The backward pass takes about twice what the forward pass does.
PASSES = 3


def step_flops(model: keras.Model, crop_size: int, batch_size: int) -> int:
    """Operations of one optimizer step, forward and backward, for the whole batch.

    Args:
      model: a built model.
      crop_size: side of the crops in pixels, a multiple of the model's `size_multiple`.
      batch_size: crops per step.
    """
    return PASSES * batch_size * count_flops(model, crop_size, crop_size)


def describe(recipe: Recipe, model: keras.Model, crop_size: int) -> list[str]:
    """Lines on parameters, operations, memory and time.

    Args:
      recipe: what is trained.
      model: its model, built; shapes suffice.
      crop_size: side of the crops in pixels.
    """
    flops = step_flops(model, crop_size, recipe.batch_size)
    days = flops * recipe.total_steps / RATE / 86400
    batch = recipe.batch_size // recipe.accumulate
    needed = training_bytes(model, crop_size, batch, recipe.objective.decodes(model)) / 2**30
    return [
        f"{model.count_params() / 1e6:.3f} M parameters",
        f"a step of {recipe.batch_size} crops of {crop_size}x{crop_size}: {flops / 1e12:.3g} TFLOP",
        f"{recipe.total_steps} steps: {flops * recipe.total_steps / 1e18:.3g} EFLOP, {days:.3g} "
        f"days of one device at {RATE / 1e12:g} TFLOP/s",
        f"activations of {batch} crops at a time on one device: about {needed:.3g} GiB",
    ]
