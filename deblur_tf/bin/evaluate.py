r"""Measures PSNR and SSIM of a model on pairs with known sharp images.

  deblur-evaluate --photos=my_sharp_photos -n 8 -o results/
  deblur-evaluate --pairs=GOPRO_Large/test --crop=256 -o results/
  deblur-evaluate --gin_file=papers/icdpm/table5/ours.gin --data_dir=data -m runs/ours -o results/

--gin_file takes test set and sampling of a table row, from what deblur-data prepared
in --data_dir; a row with a sampling grid gives one folder and one table for each
point. --photos blurs sharp photos with random camera shake and noise, the same for
the same --seed; --pairs reads genuine pairs (blur/ and sharp/ folders, also
input/target and LQ/GT). Writes table.md, figures.csv, sheet.png of the first pictures
and settings.json; an interrupted evaluation goes on with the same command, and figures
made with other settings are replaced. Exit code 1 if a pair could not be read.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from deblur_tf.bin import common

_PHOTOS = flags.DEFINE_string("photos", None, "Folder of sharp photos, to be blurred.")
_PAIRS = flags.DEFINE_string("pairs", None, "Folder of blurry/sharp pairs.")
_GIN_FILE = flags.DEFINE_multi_string("gin_file", [], "Gin file of a table row. Repeatable.")
_GIN_PARAM = flags.DEFINE_multi_string(
    "gin_param", [], "Override, e.g. --gin_param=\"Protocol.split = 'train'\". Repeatable."
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
_CROP = flags.DEFINE_integer(
    "crop", 0, "Side of the central crop in pixels; 0 for whole images.", lower_bound=0
)
_METRICS = flags.DEFINE_list(
    "metrics", ["psnr", "ssim", "ssim_matlab"], "Comma-separated names of what to measure."
)
_LIMIT = flags.DEFINE_integer("limit", 0, "Use only the first so many images; 0: all.", 0)
_STEPS = flags.DEFINE_integer(
    "steps", None, "Sampling steps. Default: the gin file's, or the model's.", lower_bound=1
)
_BETA_MAX = flags.DEFINE_float(
    "beta_max",
    None,
    "Largest noise variance of a step. Default: the gin file's, or the model's; with other "
    "--steps 10 / steps, at most 0.9.",
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of blur and samples.", lower_bound=0)
_N_SAMPLES = flags.DEFINE_integer(
    "n_samples",
    None,
    "Samples to draw and average. Default: the gin file's, or the model's.",
    lower_bound=1,
    short_name="n",
)


def _protocol() -> Any:
    """That of the gin file, or None."""
    if not _GIN_FILE.value:
        return None
    from deblur_tf import config

    config.load(_GIN_FILE.value, _GIN_PARAM.value)
    return config.build("Protocol")


def _points(protocol: Any, recommended: Any) -> list[Any]:
    """The settings to sample with: the protocol's or the model's, but what flags say."""
    points = list(protocol.points()) if protocol else [recommended]
    if _STEPS.value is not None or _BETA_MAX.value is not None:
        points = points[:1]  # not the grid
    return [point.but(_STEPS.value, _BETA_MAX.value, _N_SAMPLES.value) for point in points]


def _pairs(protocol: Any) -> Any:
    """The pairs to measure on; complains about the source at once."""
    from deblur_tf.data.photos import open_photos
    from deblur_tf.evaluation import pairs

    if _PHOTOS.value:
        return pairs.synthetic(open_photos(_PHOTOS.value), _CROP.value, _SEED.value)
    if _PAIRS.value:
        return pairs.folder(_PAIRS.value, _CROP.value)
    return pairs.prepared(protocol.dataset, _DATA_DIR.value, protocol.split, _CROP.value)


def main(argv: Sequence[str]) -> int:
    del argv
    if bool(_PHOTOS.value) + bool(_PAIRS.value) + bool(_GIN_FILE.value) != 1:
        raise common.UsageError("give one of --photos or --pairs or --gin_file")
    if not _OUTPUT.value:
        raise common.UsageError("-o/--output is missing")

    from deblur_tf import model_folders

    model_folders.find(_MODEL.value)
    common.make_folder(_OUTPUT.value)
    from tqdm import tqdm

    from deblur_tf import metrics

    chosen = metrics.choose(_METRICS.value)
    for metric in chosen:
        if 0 < _CROP.value < metric.min_side:
            raise common.UsageError(
                f"--crop={_CROP.value}: {metric.label} needs {metric.min_side} pixels or more"
            )
    from deblur_tf.evaluation import report, runner
    from deblur_tf.inference.deblurrer import Deblurrer

    protocol = _protocol()
    pairs = _pairs(protocol)
    deblurrer = Deblurrer.from_pretrained(_MODEL.value)
    print(f"model {_MODEL.value}: {deblurrer.origin}", flush=True)
    if protocol and protocol.note:
        print(f"note: {protocol.note}", flush=True)
    size = f"central {_CROP.value}x{_CROP.value} pixels" if _CROP.value else "whole images"
    points = _points(protocol, deblurrer.sampling)
    failed: list[str] = []
    for point in points:
        folder = pathlib.Path(_OUTPUT.value)
        if len(points) > 1:
            folder /= f"T{point.steps}_beta{point.beta_max}"
        settings = {
            "model": deblurrer.origin,
            "weights": deblurrer.fingerprint(),
            "pairs": pairs.title,
            "size": size,
            "limit": _LIMIT.value,
            "seed": _SEED.value,
            "sampling": dataclasses.asdict(point),
            "metrics": [metric.name for metric in chosen],
        }
        results = report.Report(folder, settings, chosen)
        if results.done:
            print(f"{folder}: done before with these settings", flush=True)
            continue
        with tqdm(
            total=min(_LIMIT.value or len(pairs), len(pairs)),
            unit="image",
            disable=not sys.stderr.isatty(),
        ) as bar:

            def tell(line: str, bar: Any = bar) -> None:
                bar.update()
                tqdm.write(line)

            outcome = runner.evaluate(
                deblurrer,
                pairs,
                chosen,
                results,
                size,
                limit=_LIMIT.value,
                on_image=tell,
                seed=_SEED.value,
                **dataclasses.asdict(point),
            )
        failed += [message for message in outcome.failed if message not in failed]
        print(f"{point.describe()}\n{outcome.table}", flush=True)
    for message in failed:
        common.fail(message, common.FAILED)
    if failed:
        return common.fail(f"{len(failed)} of {len(pairs)} pairs could not be read", common.FAILED)
    return common.OK


def entry() -> None:
    common.run(main, __doc__)


if __name__ == "__main__":
    entry()
