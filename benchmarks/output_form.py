r"""Compares the output forms, that is what the network predicts, after a short training of each.

  python benchmarks/output_form.py --steps=250

Trains the shallow network of budget/cpu.gin from the same weights on the same batches
in each form of `deblur_tf.diffusion.outputs`, with an L1 loss on the quantity that the
form predicts. Then prints the PSNR in dB of the sharp image that follows from
one prediction on unseen crops, for several noise levels: the lower the level,
the less of the image remains in the noisy input.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import app, flags

_STEPS = flags.DEFINE_integer("steps", 250, "Training steps of each form.", lower_bound=1)
_PHOTOS = flags.DEFINE_string("photos", None, "Folder of photos; default: the bundled ones.")
_RATE = flags.DEFINE_float("learning_rate", 6e-4, "Peak learning rate of each training.")

LEVELS = (0.03, 0.1, 0.3, 0.6, 0.9)


SHALLOW = ("models/icdpm.gin", "models/guidance/multiscale.gin")


def main(argv: Sequence[str]) -> None:
    del argv
    import numpy as np

    from deblur_tf import config
    from deblur_tf.data.input.threads import batch_of
    from deblur_tf.diffusion import process
    from deblur_tf.numerics import image_ops
    from deblur_tf.training.steppers import make_stepper

    print("output    " + "".join(f"{level:>8}" for level in LEVELS))
    for form in ("Noise", "Velocity", "Residual"):
        config.load(
            [*SHALLOW, "recipes/cpu.gin", "data/photos.gin"],
            [
                *("CH = 16", "GUIDE_CH = 8", "RES_BLOCKS = 1", "MIDDLE_BLOCKS = 1"),
                f"OUTPUT = @{form}()",
                f"LEARNING_RATE = {_RATE.value}",
                f"PHOTOS = {_PHOTOS.value!r}",
                "EMA_DECAY = 0.99",
            ],
        )
        recipe = config.build("Recipe")
        stepper, pairs = make_stepper(recipe), recipe.pairs()
        batches = stepper.batches(pairs, 0)
        for step in range(_STEPS.value):
            stepper(next(batches), step)

        unseen = [image_ops.to_model_range(x) for x in batch_of(pairs, 10**6, 32)[:2]]
        blurry, sharp = unseen
        noise = np.random.default_rng(0).standard_normal(sharp.shape, np.float32)
        row = []
        for value in LEVELS:
            level = np.full(32, value, np.float32)
            noisy = process.q_sample(sharp, noise, level)
            condition = stepper.model.condition(blurry)
            estimate = stepper.model.denoise(noisy, level, condition).target
            error = np.clip(estimate, -1, 1) - np.array(sharp)
            row.append(-10 * np.log10(np.mean(error**2) / 4))
        print(f"{form:10}" + "".join(f"{psnr:8.2f}" for psnr in row), flush=True)


if __name__ == "__main__":
    app.run(main)
