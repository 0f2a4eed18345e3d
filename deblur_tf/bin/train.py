r"""Trains a model as a gin file says; the same command again resumes.

  deblur-train --gin_file=smoke.gin --run_dir=runs/smoke
  deblur-train --gin_file=tiny.gin --photos=my_photos --run_dir=runs/mine \
      --gin_param="TOTAL_STEPS = 20000"

The run directory gets config.gin (what was used), model.json, checkpoints/,
samples/, metrics.jsonl and TensorBoard events. Ctrl-C or SIGTERM saves first;
SIGTERM exits with 0, Ctrl-C with 130. KERAS_BACKEND=jax trains on JAX.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from absl import flags

from deblur_tf.bin import common

_GIN_FILE = flags.DEFINE_multi_string(
    "gin_file", None, "Gin file: a path, or a name inside the package's gin_configs."
)
_GIN_PARAM = flags.DEFINE_multi_string(
    "gin_param", [], 'Override, e.g. --gin_param="BATCH_SIZE = 8". Repeatable.'
)
_RUN_DIR = flags.DEFINE_string("run_dir", None, "Run directory, made if missing.")
_PHOTOS = flags.DEFINE_string(
    "photos",
    None,
    "Folder of sharp photos to learn from. Default: the file's PHOTOS, or the "
    "photographs that come with scikit-image.",
)
_DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Print the configuration that would be used, and exit."
)


def main(argv: Sequence[str]) -> int:
    del argv
    if not _GIN_FILE.value:
        raise common.UsageError("--gin_file is missing; for example --gin_file=smoke.gin")
    if not _RUN_DIR.value and not _DRY_RUN.value:
        raise common.UsageError("--run_dir is missing: where should the run be kept?")

    import keras

    from deblur_tf import config, weights
    from deblur_tf.evaluation.validation import Validation
    from deblur_tf.training import distribution, loop, steppers

    overrides = list(_GIN_PARAM.value)
    if _PHOTOS.value:
        overrides.append(f"PHOTOS = {_PHOTOS.value!r}")
    config.load(_GIN_FILE.value, overrides)
    recipe = config.build("Recipe")
    keras.utils.set_random_seed(recipe.seed)
    strategy = distribution.choose()
    with config.errors():
        stepper = steppers.make_stepper(
            recipe.model,
            recipe.optimizer,
            recipe.objective,
            recipe.batch_size,
            recipe.ema_decay,
            jit_compile=recipe.jit_compile,
            strategy=strategy,
        )
    if _DRY_RUN.value:
        print(config.operative())
        return common.OK

    run_dir = pathlib.Path(_RUN_DIR.value)
    run_dir.mkdir(parents=True, exist_ok=True)
    if not weights.same_model_config(stepper.model, run_dir):
        raise common.UsageError(
            f"{run_dir} holds a run of another model; choose another --run_dir, or the "
            f"settings in {run_dir / 'config.gin'}"
        )
    weights.save_model_config(stepper.model, run_dir)
    (run_dir / "config.gin").write_text(config.operative(), encoding="utf-8")
    print(
        f"{keras.backend.backend()} backend, {distribution.describe(strategy)}; "
        f"{stepper.model.count_params() / 1e6:.3f} M parameters, "
        f"{len(recipe.pairs.photos)} photos, batch {recipe.batch_size}, "
        f"{recipe.total_steps} steps; run directory {run_dir}",
        flush=True,
    )
    signal_number = loop.train(recipe, stepper, run_dir, Validation(recipe))
    if signal_number:
        print("stopped; the same command continues the run")
    return common.INTERRUPTED if signal_number == 2 else common.OK


def entry() -> None:
    common.run(main, __doc__)


if __name__ == "__main__":
    entry()
