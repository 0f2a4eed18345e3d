r"""Prints how much memory a training step needs per crop, as planned by XLA.

  python benchmarks/memory.py

Compiles the step on JAX for one and for two crops, without running it; the
difference is the cost of each further crop. The plan is for this machine's device:
on a CPU, bfloat16 is converted to float32 and counts as such.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

os.environ["KERAS_BACKEND"] = "jax"

from absl import app, flags

_GIN_FILE = flags.DEFINE_multi_string(
    "gin_file",
    ["models/icdpm.gin", "models/guidance/multiscale.gin", "recipes/icdpm.gin", "data/photos.gin"],
    "What is trained. Repeatable.",
)


def main(argv: Sequence[str]) -> None:
    del argv
    import numpy as np

    from deblur_tf import config
    from deblur_tf.data.input.batch import Batch
    from deblur_tf.training.steppers import JaxStepper

    needed = []
    for batch in (1, 2):
        config.load(_GIN_FILE.value, [f"BATCH_SIZE = {batch}", "Recipe.accumulate = 1"])
        recipe = config.build("Recipe")
        stepper = JaxStepper(recipe)
        size = recipe.pairs().crop_size
        images = np.zeros((1, batch, size, size, 3), np.uint8)
        step = Batch(images, images, np.arange(batch, dtype=np.int32)[None])
        plan = stepper.lower(step).compile().memory_analysis()
        needed.append(plan.temp_size_in_bytes)
    fixed = plan.argument_size_in_bytes
    print(f"{' '.join(_GIN_FILE.value)}: {size}x{size} crops")
    print(f"weights, optimizer, average  {fixed / 1e9:.2f} GB")
    print(f"each crop                    {(needed[1] - needed[0]) / 1e9:.2f} GB")


if __name__ == "__main__":
    app.run(main)
