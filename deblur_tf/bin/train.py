r"""Trains a model as a gin file says; the same command again resumes.

  deblur-train --gin_file=smoke.gin --run_dir=runs/smoke
  deblur-train --gin_file=tiny.gin --photos=my_photos --run_dir=runs/mine \
      --gin_param="TOTAL_STEPS = 20000"
  deblur-train --gin_file=smoke_gopro.gin --data_dir=data --run_dir=runs/gopro

The run directory gets config.gin (what was used), model.json, checkpoints/,
samples/, metrics.jsonl and TensorBoard events. Ctrl-C or SIGTERM saves first;
SIGTERM exits with 0, Ctrl-C with 130. KERAS_BACKEND=jax trains on JAX.

Several machines: the same command on each, with TF_CONFIG set and one shared
--run_dir.
"""

from __future__ import annotations

import pathlib
import re
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
_DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "Where deblur-data prepared the data set that the gin file names. Default: the file's "
    "DATA_DIR, $TFDS_DATA_DIR or ~/tensorflow_datasets.",
)
_STRATEGY = flags.DEFINE_enum(
    "strategy",
    "auto",
    ["auto", "tpu", "mirrored", "multiworker", "one"],
    "Devices to train on. auto: a TPU where there is one, else the processes of TF_CONFIG, else "
    "all GPUs, else one device.",
)
_ACCUMULATE = flags.DEFINE_integer(
    "accumulate",
    None,
    "Do each device's share of a batch in this many parts: the same result in less memory.",
    lower_bound=1,
)
_STOP_AFTER = flags.DEFINE_string(
    "stop_after",
    None,
    "Save and stop after this time, e.g. 25m, 90s, 1.5h; the same command continues the run.",
)
_DEVICE = flags.DEFINE_enum(
    "device",
    "auto",
    ["auto", "cpu", "gpu", "tpu"],
    "Kind of device that must be used: another one is an error, never a silent fall-back.",
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

    stop_after = _seconds(_STOP_AFTER.value)
    from deblur_tf.training import distribution

    distribution.prepare(_STRATEGY.value)
    import keras

    from deblur_tf import config
    from deblur_tf.models import saved
    from deblur_tf.training import loop, steppers
    from deblur_tf.training.validation import Validation

    placement = distribution.choose(_STRATEGY.value)
    device = distribution.device(_DEVICE.value)
    config.load(_GIN_FILE.value, _overrides())
    _refuse_wrong_data_flag(config.reference("Recipe.pairs"))
    recipe = config.build("Recipe")
    with config.errors():
        stepper = steppers.make_stepper(recipe, placement)
    if _DRY_RUN.value:
        print(config.bindings())
        return common.OK
    with config.errors():
        pairs = recipe.pairs()
        held_out = recipe.validation_pairs() if recipe.validation_pairs else pairs

    run_dir = pathlib.Path(_RUN_DIR.value)
    if not saved.same_model_config(stepper.model, run_dir):
        raise common.UsageError(
            f"{run_dir} holds a run of another model; choose another --run_dir, or the "
            f"settings in {run_dir / 'config.gin'}"
        )
    validation = None
    if stepper.chief:
        run_dir.mkdir(parents=True, exist_ok=True)
        saved.save_model_config(stepper.model, run_dir, recipe.sampling)
        (run_dir / "config.gin").write_text(config.operative(), encoding="utf-8")
        validation = Validation(recipe, held_out)
        parts = "" if recipe.accumulate == 1 else f" in {recipe.accumulate} parts"
        print(
            f"{keras.backend.backend()} backend on {device}, {placement}; "
            f"{stepper.model.count_params() / 1e6:.3f} M parameters, {pairs.describe()}, "
            f"batch {recipe.batch_size}{parts}, {recipe.total_steps} steps; "
            f"run directory {run_dir}",
            flush=True,
        )
    with distribution.worker_errors(placement):
        signal_number = loop.train(recipe, stepper, pairs, run_dir, validation, stop_after)
    if signal_number:
        print("stopped; the same command continues the run")
    return common.INTERRUPTED if signal_number == 2 else common.OK


def _seconds(text: str | None) -> float | None:
    """Seconds of a time such as 25m; a bare number is of seconds."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if not match or float(match[1]) == 0:
        raise common.UsageError(f"--stop_after={text}: give a time such as 25m, 90s or 1.5h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def _overrides() -> list[str]:
    """Bindings of --gin_param, and of the flags that stand for one."""
    overrides = list(_GIN_PARAM.value)
    for name, flag in (("PHOTOS", _PHOTOS), ("DATA_DIR", _DATA_DIR)):
        if flag.value:
            overrides.append(f"{name} = {flag.value!r}")
    if _ACCUMULATE.value:
        overrides.append(f"Recipe.accumulate = {_ACCUMULATE.value}")
    return overrides


def _refuse_wrong_data_flag(source: str) -> None:
    from_photos = source in ("PairGenerator", "DevicePairs")
    if _PHOTOS.value and not from_photos:
        raise common.UsageError(f"--photos: this gin file learns from {source}; see --data_dir")
    if _DATA_DIR.value and from_photos:
        raise common.UsageError(
            "--data_dir: this gin file learns from photos (--photos); add one of a data set, "
            "for example --gin_file=data/gopro.gin"
        )


def entry() -> None:
    common.run(main, __doc__)


if __name__ == "__main__":
    entry()
