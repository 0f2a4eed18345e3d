r"""Trains a model as a gin file says; the same command again resumes.

  deblur-train --gin_file=smoke.gin --run_dir=runs/smoke
  deblur-train --gin_file=tiny.gin --photos=my_photos --run_dir=runs/mine \
      --gin_param="TOTAL_STEPS = 20000"
  deblur-train --gin_file=smoke_gopro.gin --data_dir=data --run_dir=runs/gopro
  deblur-train --gin_file=mild.gin --photos=my_photos --run_dir=runs/finer --init_from=tiny

A run is continued with the settings that it began with, except for its length, what it
logs and where its data is. One image in twenty of photos and data sets is held out, or
whole scenes where there are scenes; validation restores crops of the held-out images. The run
directory gets config.gin (what was used), model.json, checkpoints/, samples/,
metrics.jsonl and TensorBoard events. Ctrl-C or SIGTERM saves first; SIGTERM exits
with 0, Ctrl-C with 130. KERAS_BACKEND=jax trains on JAX.

Several machines: the same command on each, with TF_CONFIG set and one shared
--run_dir.
"""

from __future__ import annotations

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
    "Process each device's share of a batch in this many parts: same result, less memory.",
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
    "Kind of device to use; if there is none, it is an error, never a silent fall-back.",
)
_INIT_FROM = flags.DEFINE_string(
    "init_from",
    None,
    "Begin a new run with the averaged weights of this model, run or checkpoint.",
)
_RESUME = flags.DEFINE_enum(
    "resume",
    "newest",
    ["newest", "whole"],
    "Checkpoint to continue from: the newest, or with whole the newest that can be read.",
)
_DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Print the configuration that would be used and what it costs, and exit."
)
flags.declare_key_flag("import")


def main(argv: Sequence[str]) -> int:
    del argv
    if not _GIN_FILE.value:
        raise common.UsageError("--gin_file is missing; for example --gin_file=smoke.gin")
    if not _RUN_DIR.value and not _DRY_RUN.value:
        raise common.UsageError("--run_dir is missing: where should the run be kept?")

    stop_after = _seconds(_STOP_AFTER.value)
    if _INIT_FROM.value:
        from deblur_tf.storage import model_folders

        model_folders.find(_INIT_FROM.value)
    from deblur_tf import config

    config.check_files(_GIN_FILE.value, _overrides())
    from deblur_tf.training import distribution

    distribution.prepare(_STRATEGY.value)
    from deblur_tf.base import bindings
    from deblur_tf.training import run

    placement = distribution.choose(_STRATEGY.value)
    common.import_modules()
    config.load(_GIN_FILE.value, _overrides())
    _refuse_wrong_data_flag(config.reference("Recipe.pairs"))
    recipe = config.build("Recipe")
    if _DRY_RUN.value:
        from deblur_tf.base.backend import shapes_only
        from deblur_tf.training import cost

        with bindings.construction_errors():
            recipe.optimizer()
        with bindings.construction_errors(), shapes_only():
            model = recipe.model()
            if not model.built:
                model.build()
            crop = int(bindings.value("CROP_SIZE") or model.size_multiple)
            lines = cost.describe(recipe, model, crop)
        print(bindings.all_bindings())
        print("".join(f"# {line}\n" for line in lines), end="")
        return common.OK
    made = run.prepare(recipe, common.value_of(_RUN_DIR), placement)
    signal_number = run.train(
        made, _DEVICE.value, stop_after, _INIT_FROM.value, resume=_RESUME.value
    )
    if signal_number:
        print("stopped; the same command continues the run")
    return common.INTERRUPTED if signal_number == 2 else common.OK


def _seconds(text: str | None) -> float | None:
    """Converts a time such as 25m to seconds; a bare number is in seconds."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if not match or float(match[1]) == 0:
        raise common.UsageError(f"--stop_after={text}: give a time such as 25m, 90s or 1.5h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def _overrides() -> list[str]:
    """The bindings of --gin_param, and those that other flags set."""
    overrides = list(_GIN_PARAM.value)
    for name, flag in (("PHOTOS", _PHOTOS), ("DATA_DIR", _DATA_DIR)):
        if flag.value:
            overrides.append(f"{name} = {flag.value!r}")
    if _ACCUMULATE.value:
        overrides.append(f"Recipe.accumulate = {_ACCUMULATE.value}")
    return overrides


def _refuse_wrong_data_flag(source: str) -> None:
    from deblur_tf import config

    reads = config.registered(source).reads
    if _PHOTOS.value and reads != "photos":
        raise common.UsageError(f"--photos: this gin file learns from {source}; see --data_dir")
    if _DATA_DIR.value and reads == "photos":
        raise common.UsageError(
            "--data_dir: this gin file learns from photos (--photos); add one of a data set, "
            "for example --gin_file=data/gopro.gin"
        )


def entry() -> None:
    common.run(main, __doc__)


if __name__ == "__main__":
    entry()
