r"""Measures restored pictures against sharp ones.

  deblur-evaluate model --photos=my_sharp_photos --limit=8 -o results/
  deblur-evaluate model --photos=my_sharp_photos --blur=realistic -o results/
  deblur-evaluate model --pairs=GOPRO_Large/test --protocol=gopro-v1 -o results/
  deblur-evaluate model --gin_file=papers/icdpm/table5/ours.gin -m runs/ours -o results/
  deblur-evaluate folders --restored=their_results --sharp='GOPRO_Large/test/*/sharp' -o out/
  deblur-evaluate merge results/shard*of8 -o results/

model: restores with a model and measures. --photos blurs sharp photos as --blur says, by
default with random camera shake and noise, the same for the same --seed; --pairs reads
genuine pairs (blur/ and sharp/ folders, also input/target and LQ/GT); a protocol names a data
set that deblur-data prepared in --data_dir, and its metrics; the gin file of a table row also
says how to sample. A row with a grid writes a folder for each point, and grid.csv and
grid.png for all of them. With --save the pictures are kept in pictures/.
folders: measures existing pictures by any method. They are matched by name; a name is the path
below the folder, without folders called blur, sharp and the like.
merge: merges the results of several processes, each run with a different --shard, into another
folder. In one output folder the process that measures the last part merges them by itself.
--devices=all measures with one process on each GPU, and writes one report.

Writes table.md, report.json, figures.csv, sheet.png of the first pictures and
settings.json; an interrupted evaluation continues with the same command, and figures made
with other settings are replaced. Metrics whose weights are missing are named at the start and
left out. Exit code 1 if a pair, or a metric of --metrics, could not be measured; 75 if a row's
point is to be chosen and other parts of the grid are still being measured.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from absl import flags

from deblur_tf.bin import common, several
from deblur_tf.bin.measuring import ChosenMetrics, measure, read_shard, row_of
from deblur_tf.bin.model_evaluation import ModelEvaluation

_PHOTOS = flags.DEFINE_string("photos", None, "model: folder of sharp photos, to be blurred.")
_BLUR = flags.DEFINE_enum(
    "blur",
    "dvsr",
    ["dvsr", "realistic", "shake10", "shake20"],
    "model: how --photos are blurred. dvsr: random camera shake with noise, as in DvSR's "
    "appendix C; realistic: as tiny.gin's training pairs; shake10, shake20: one shake of 10 or 20 "
    "pixels over the whole picture, with noise of standard deviation 1 (of 255).",
)
_PAIRS = flags.DEFINE_string("pairs", None, "model: folder of blurry/sharp pairs.")
_DATASET = flags.DEFINE_string(
    "dataset", None, "model: prepared data set, e.g. folder/mine; in place of the protocol's own."
)
_SPLIT = flags.DEFINE_string("split", None, "model: its split. Default: the protocol's, or test.")
_RESTORED = flags.DEFINE_string("restored", None, "folders: the restored pictures to measure.")
_SHARP = flags.DEFINE_string("sharp", None, "folders: the sharp pictures; without, NIQE alone.")
_BLURRY = flags.DEFINE_string("blurry", None, "folders: the blurry ones, to be measured too.")
_SUBSET = flags.DEFINE_bool("subset", False, "folders: measure the pictures that all have.")
_PROTOCOL = flags.DEFINE_string(
    "protocol", None, "gopro-v1, hide-v1, realblur_j-v1, reds300-v1, div2k-v1 or dvd-v1."
)
_GIN_FILE = flags.DEFINE_multi_string("gin_file", [], "Gin file of a table row. Repeatable.")
_GIN_PARAM = flags.DEFINE_multi_string(
    "gin_param", [], "Override, e.g. --gin_param=\"kid.estimator = 'subsets'\". Repeatable."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where prepared sets are. Default: $TFDS_DATA_DIR or ~/tensorflow_datasets."
)
_OUTPUT = flags.DEFINE_string("output", None, "Output folder, made if missing.", short_name="o")
_MODEL = flags.DEFINE_string(
    "model",
    "tiny",
    "Model in the package, run directory, checkpoint, or model folder.",
    short_name="m",
)
_SAVE = flags.DEFINE_bool("save", False, "model: keep the pictures.")
_CROP = flags.DEFINE_integer(
    "crop", 0, "model: side of the central crop in pixels; 0 for whole images.", lower_bound=0
)
_METRICS = flags.DEFINE_list(
    "metrics", None, "What to measure. Default: the protocol's, or psnr,ssim,ssim_matlab."
)
_WEIGHTS = flags.DEFINE_string(
    "metric_weights",
    None,
    "Folder of metric weights. $DEBLUR_TF_WEIGHTS and ~/.cache/deblur_tf are searched too.",
)
_LIMIT = flags.DEFINE_integer("limit", 0, "Use only this many images, from the first; 0: all.", 0)
_SHARD = flags.DEFINE_string("shard", "1/1", "Measure only this part of the images, e.g. 2/8.")
_POINTS = flags.DEFINE_list(
    "points", None, "model: points of a grid as steps:beta_max, e.g. 20:0.5,100:0.1."
)
_STEPS = flags.DEFINE_integer(
    "steps", None, "Sampling steps. Default: the gin file's, or the model's.", lower_bound=1
)
_BETA_MAX = flags.DEFINE_float(
    "beta_max",
    None,
    "Largest noise variance of a step. Default: the gin file's, or the model's; with other "
    "--steps 10 / steps, at most 0.9.",
)
_SAMPLER = flags.DEFINE_string(
    "sampler", None, "ddpm, ddim, dpmpp_2m, dpmpp_2m_sde or heun. Default: the model's."
)
_ETA = flags.DEFINE_float(
    "eta", None, "For ddim: share of ddpm's noise, 0 to 1. Default: the model's, or 0."
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of blur and samples.", lower_bound=0)
_N_SAMPLES = flags.DEFINE_integer(
    "n_samples",
    None,
    "Samples to draw and average. Default: the gin file's, or the model's.",
    lower_bound=1,
    short_name="n",
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size",
    1,
    "model: pictures of one size, or samples of a picture, that are computed at a time.",
    lower_bound=1,
)
_DEVICES = flags.DEFINE_string(
    "devices",
    "1",
    "model: processes that share the pictures: a number, or all for one on each GPU.",
)
_MODEL_WEIGHTS = flags.DEFINE_enum(
    "weights",
    "ema",
    ["ema", "raw"],
    "model: of a run: the averages of the weights over its steps, or the weights of its last step.",
)
_PRECISION = flags.DEFINE_enum(
    "precision",
    "fp32",
    ["auto", "fp32", "bf16"],
    "Number format of the networks. bf16 changes a picture by a level or two of 255; auto: bf16 on "
    "CPUs that are faster in it.",
)
_JOBS = flags.DEFINE_integer(
    "jobs", None, "folders: pictures measured in parallel. Default: one per core, at most 8.", 1
)
flags.declare_key_flag("import")


def _shard() -> tuple[int, int]:
    return read_shard(_SHARD.value)


def _protocol() -> Any:
    """The protocol of the gin files and --protocol, which wins; without either, the default."""
    from deblur_tf import config

    names = list(_GIN_FILE.value)
    if _PROTOCOL.value:
        names.append(f"protocols/{_PROTOCOL.value}.gin")
    config.load(names, _GIN_PARAM.value)
    return config.build("Protocol")


def _points(protocol: Any, recommended: Any) -> list[Any]:
    """The settings to sample with: the row's or the model's, changed by flags."""
    from deblur_tf.evaluation import protocols

    if _POINTS.value:
        if _STEPS.value is not None or _BETA_MAX.value is not None:
            raise common.UsageError("--points has steps and beta_max: leave these flags out")
        grid = protocols.read_points(_POINTS.value)
        points = dataclasses.replace(protocol, grid=grid).points()
        return [p.but(None, None, _N_SAMPLES.value, _SAMPLER.value, _ETA.value) for p in points]
    points = list(protocol.points()) if _GIN_FILE.value else [recommended]
    if _STEPS.value is not None or _BETA_MAX.value is not None:
        points = [protocol.fixed()] if _GIN_FILE.value else points[:1]  # not the grid
    return [_changed(point) for point in points]


def _changed(point: Any) -> Any:
    """A point with what flags change of it."""
    return point.but(_STEPS.value, _BETA_MAX.value, _N_SAMPLES.value, _SAMPLER.value, _ETA.value)


def _pairs(protocol: Any) -> Any:
    """The pairs to measure on; raises errors about their source at once."""
    from deblur_tf.evaluation import pairs

    if _PHOTOS.value or _PAIRS.value:
        return pairs.of(_PHOTOS.value, _PAIRS.value, _CROP.value, _SEED.value, _BLUR.value)
    dataset, split = _DATASET.value or protocol.dataset, _SPLIT.value or protocol.split
    return pairs.prepared(dataset, _DATA_DIR.value, split, _CROP.value)


def _metrics(protocol: Any) -> ChosenMetrics:
    return ChosenMetrics(_METRICS.value or protocol.metrics, _WEIGHTS.value)


def _model() -> Iterator[Any]:
    """Yields the outcome of each point, and last the metrics."""
    if not any(flag.value for flag in (_PHOTOS, _PAIRS, _DATASET, _GIN_FILE, _PROTOCOL)):
        raise common.UsageError(
            "give one of --photos or --pairs, --protocol, --gin_file or --dataset"
        )
    if _PHOTOS.value and _PAIRS.value:
        raise common.UsageError("give one of --photos and --pairs, not both")
    from deblur_tf import metrics
    from deblur_tf.storage import model_folders

    own = [m for m in metrics.ALL if m.name in (_METRICS.value or ["ssim"])]
    for metric in own if not (_PROTOCOL.value or _GIN_FILE.value) else ():
        if 0 < _CROP.value < metric.min_side:
            raise common.UsageError(
                f"--crop={_CROP.value}: {metric.label} needs {metric.min_side} pixels or more"
            )
    model_folders.find(_MODEL.value)
    common.make_folder(common.value_of(_OUTPUT))
    protocol = _protocol()
    chosen = _metrics(protocol)
    pairs = _pairs(protocol)
    from deblur_tf.inference.deblurrer import Deblurrer

    common.import_modules()
    deblurrer = Deblurrer.from_pretrained(
        _MODEL.value, precision=_PRECISION.value, weights=common.value_of(_MODEL_WEIGHTS)
    )
    print(f"model {_MODEL.value}: {deblurrer.origin}", flush=True)
    evaluation = ModelEvaluation(
        *(deblurrer, protocol, chosen, pairs, pathlib.Path(common.value_of(_OUTPUT))),
        row=row_of(deblurrer.model, _GIN_FILE.value, _PROTOCOL.value or "", _GIN_PARAM.value),
        part=_shard(),
        crop=_CROP.value,
        limit=_LIMIT.value,
        seed=_SEED.value,
        save=_SAVE.value,
        batch_size=_BATCH_SIZE.value,
    )
    points = _points(protocol, deblurrer.sampling)
    yield from evaluation.run(points, fixed=_changed(protocol.fixed()))
    yield chosen


def _folders() -> Iterator[Any]:
    restored = common.value_of(_RESTORED)
    protocol = _protocol()
    if not _SHARP.value:  # what compares with nothing is left
        protocol = dataclasses.replace(protocol, metrics=("niqe",))
    chosen = _metrics(protocol)
    from deblur_tf.evaluation import results, subjects

    pairs = results.folders(restored, _SHARP.value, _BLURRY.value, _SUBSET.value)
    common.make_folder(output := common.value_of(_OUTPUT))
    settings = {
        "pictures": pairs.digest,
        "protocol": protocol.name,
        "limit": _LIMIT.value,
        "metrics": chosen.settings,
    }
    subject = subjects.ExistingPictures(bool(_BLURRY.value), bool(_SHARP.value))
    jobs, folder = _JOBS.value or min(8, len(os.sched_getaffinity(0))), pathlib.Path(output)
    notes = {"restored": _RESTORED.value, "sharp": _SHARP.value, "blurry": _BLURRY.value}
    outcome = measure(
        *(folder, settings, notes, chosen, _shard(), _LIMIT.value, False),
        subject=subject,
        pairs=pairs,
        jobs=jobs,
    ).outcome
    if outcome:
        print(outcome.table, flush=True)
        yield outcome
    yield chosen


def _merge(shards: Sequence[str]) -> Iterator[Any]:
    if not shards:
        raise common.UsageError("name the folders of the shards")
    chosen = _metrics(_protocol_of(shards))
    common.make_folder(common.value_of(_OUTPUT))
    from deblur_tf.evaluation import merging

    outcome = merging.merge(shards, common.value_of(_OUTPUT), chosen.found)
    print(outcome.table, flush=True)
    yield outcome
    yield chosen


def _protocol_of(shards: Sequence[str]) -> Any:
    """The protocol, with the metrics that the first shard measured."""
    from deblur_tf.evaluation import merging

    return dataclasses.replace(_protocol(), metrics=merging.metric_names(shards[0]))


_FLAGS = {
    "model": (
        *(
            "photos",
            "blur",
            "pairs",
            "data_dir",
            "dataset",
            "split",
            "model",
            "save",
            "crop",
            "points",
            "steps",
        ),
        *("beta_max", "seed", "sampler", "eta", "n_samples", "shard", "limit"),
        *("batch_size", "devices", "precision", "weights"),
    ),
    "folders": ("restored", "sharp", "blurry", "subset", "jobs", "shard", "limit"),
    "merge": (),
}


def main(argv: Sequence[str]) -> int:
    command, *arguments = argv[1:] or ["model"]
    commands: dict[str, Callable[[], Iterator[Any]]] = {
        "model": _model,
        "folders": _folders,
        "merge": lambda: _merge(arguments),
    }
    if command not in commands or (arguments and command != "merge"):
        raise common.UsageError(
            f"unexpected {(arguments or [command])[0]!r}; give model, folders or merge"
        )
    common.refuse_flags(command, _FLAGS)
    if not _OUTPUT.value:
        raise common.UsageError("-o/--output is missing")
    _shard()
    from deblur_tf import config

    config.check_files(_GIN_FILE.value, _GIN_PARAM.value)
    if several.wanted(_DEVICES.value):
        if _shard() != (1, 1):
            raise common.UsageError("give one of --devices and --shard, not both")
        return several.run("deblur_tf.bin.evaluate", _DEVICES.value)
    *outcomes, chosen = commands[command]()
    failed = list(dict.fromkeys(message for o in outcomes for message in o.failed))
    for message in failed:
        common.fail(message, common.FAILED)
    if failed:
        return common.fail(f"{len(failed)} pictures could not be measured", common.FAILED)
    if chosen.missing and _METRICS.value:
        return common.fail(f"left out, see above: {', '.join(chosen.missing)}", common.FAILED)
    return common.OK


def entry() -> None:
    common.run(main, __doc__, max_arguments=10_000)


if __name__ == "__main__":
    entry()
