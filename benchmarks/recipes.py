r"""PSNR that a training recipe reaches in a fixed CPU time.

  python benchmarks/recipes.py --photos=PHOTOS --cpu_seconds=300
  python benchmarks/recipes.py --photos=PHOTOS --gin_param="LEARNING_RATE = 2e-3"

Trains from the start until the process has used --cpu_seconds after its first step, with a
constant learning rate, and prints the PSNR of crops that training does not see, restored with the
averaged weights in one sampling step from pure noise and in three steps, and for comparison the
PSNR of the blurry crops and of the best Gaussian smoothing of each. To compare recipes, run only
one at a time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from absl import app, flags

_GIN_FILE = flags.DEFINE_string("gin_file", "tiny.gin", "Gin file of the recipe.")
_GIN_PARAM = flags.DEFINE_multi_string("gin_param", [], "Overrides of settings.")
_PHOTOS = flags.DEFINE_string("photos", None, "Folder of photos; None: the bundled ones.")
_SECONDS = flags.DEFINE_float("cpu_seconds", 300.0, "CPU seconds of training.")
_CROPS = flags.DEFINE_integer("crops", 96, "Crops to validate on.")
_SIDE = flags.DEFINE_integer("side", 96, "Side of these crops in pixels.")


def main(argv: Sequence[str]) -> None:
    del argv
    import numpy as np

    from deblur_tf import config, metrics
    from deblur_tf.data.pairs import PairGenerator
    from deblur_tf.evaluation import runner
    from deblur_tf.evaluation.pairs import Numbered
    from deblur_tf.evaluation.subjects import Restored
    from deblur_tf.inference.deblurrer import Deblurrer
    from deblur_tf.storage.arrays import assign_named, named_variables
    from deblur_tf.training.steppers import make_stepper

    settings = [f"PHOTOS = {_PHOTOS.value!r}", "adam.decay_steps = None", "EMA_DECAY = 0.98"]
    config.load([_GIN_FILE.value], [*settings, *_GIN_PARAM.value])
    recipe = config.build("Recipe")
    stepper = make_stepper(recipe)
    step, losses, started = 0, [], 0.0
    for batch in stepper.batches(recipe.pairs(), 0):
        losses.append(float(stepper(batch, step)["denoising"]))
        step += 1
        if step == 1:
            started = time.process_time()
        if time.process_time() - started > _SECONDS.value:
            break

    model = recipe.model()
    model.build()
    assign_named(named_variables(model, trainable_only=True), stepper.averages(), "averages")
    deblurrer = Deblurrer(model)
    source = PairGenerator(_PHOTOS.value, crop_size=_SIDE.value, seed=12345)
    pairs = Numbered("crops", _CROPS.value, str, source)
    found = {}
    for steps, beta_max in ((1, 0.9975), (3, 0.9)):
        subject = Restored(deblurrer, steps=steps, beta_max=beta_max)
        outcome = runner.evaluate(subject, pairs, [metrics.PSNR])
        found[steps] = outcome.means
    last = {kind: found[3][kind]["psnr"] for kind in ("blurry", "smoothed")}
    print(
        f"{step} steps, {model.count_params() / 1e6:.2f} M parameters, denoising loss of the last "
        f"60 steps {np.mean(losses[-60:]):.4f}; PSNR of the input {last['blurry']:.2f}, smoothed "
        f"{last['smoothed']:.2f}, one step {found[1]['sample']['psnr']:.2f}, three steps "
        f"{found[3]['sample']['psnr']:.2f} dB"
    )


if __name__ == "__main__":
    app.run(main)
