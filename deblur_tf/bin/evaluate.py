r"""Measures PSNR and SSIM of a model on pairs with known sharp images.

  deblur-evaluate --photos=my_sharp_photos -n 8 -o results/
  deblur-evaluate --pairs=GOPRO_Large/test --crop=256 -o results/
  deblur-evaluate --gin_file=icdpm/table5/ours.gin --data_dir=data -m runs/ours -o results/

--gin_file takes test set and sampling of a table row, from what deblur-data prepared
in --data_dir; a row with a sampling grid gives one folder and one table for each
point. --photos blurs sharp photos with random camera shake and noise, the same for
the same --seed; --pairs reads genuine pairs (blur/ and sharp/ folders, also
input/target and LQ/GT). Writes table.md, figures.csv and sheet.png.
"""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
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
    "crop", 256, "Side of the central crop in pixels; 0 for whole images.", lower_bound=0
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
_SEED = flags.DEFINE_integer("seed", 0, "Seed of blur and samples.")
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


def _open_pairs(protocol: Any) -> Callable[[], Iterator[Any]]:
    """Gives the pairs anew on each call; complains about the source at once."""
    from deblur_tf.data.photos import open_photos
    from deblur_tf.evaluation import evaluator

    if _PHOTOS.value:
        photos = open_photos(_PHOTOS.value)
        return lambda: evaluator.synthetic_pairs(photos, _CROP.value, _SEED.value)
    if _PAIRS.value:
        evaluator.folder_pairs(_PAIRS.value, _CROP.value)
        return lambda: evaluator.folder_pairs(_PAIRS.value, _CROP.value)
    source = (protocol.dataset, _DATA_DIR.value, protocol.split, _CROP.value)
    evaluator.TfdsImages(*source[:3])
    return lambda: evaluator.prepared_pairs(*source)


def _evaluate(deblurrer: Any, pairs: Iterator[Any], output: pathlib.Path, **sampling: Any) -> str:
    """Restores all pairs; writes and returns the table."""
    from tqdm import tqdm

    from deblur_tf.evaluation import evaluator

    output.mkdir(parents=True, exist_ok=True)
    n_samples = sampling["n_samples"]
    results = []
    pairs = itertools.islice(pairs, _LIMIT.value or None)
    for pair in tqdm(pairs, unit="image", disable=not sys.stderr.isatty()):
        result = evaluator.evaluate(deblurrer, pair, seed=_SEED.value, **sampling)
        results.append(result)
        psnrs = "  ".join(f"{k} {f['psnr']:.2f}" for k, f in result.figures.items())
        tqdm.write(f"{pair.name}: PSNR {psnrs}")
        # After each image, so that an interrupted evaluation leaves its figures.
        evaluator.write_csv(output / "figures.csv", results)
    table = evaluator.table(results, n_samples)
    (output / "table.md").write_text(table + "\n", encoding="utf-8")
    columns = {"blurry": [r.pair.blurry for r in results]}
    columns["one sample"] = [r.sample for r in results]
    if n_samples > 1:
        columns[f"mean of {n_samples}"] = [r.mean for r in results]
    columns["sharp"] = [r.pair.sharp for r in results]
    sheet = evaluator.picture_sheet(list(zip(*columns.values(), strict=True)), list(columns))
    sheet.save(output / "sheet.png")
    return table


def main(argv: Sequence[str]) -> int:
    del argv
    if bool(_PHOTOS.value) + bool(_PAIRS.value) + bool(_GIN_FILE.value) != 1:
        raise common.UsageError("give one of --photos or --pairs or --gin_file")
    if not _OUTPUT.value:
        raise common.UsageError("-o/--output is missing")

    from deblur_tf.inference.deblurrer import Deblurrer

    protocol = _protocol()
    open_pairs = _open_pairs(protocol)
    deblurrer = Deblurrer.from_pretrained(_MODEL.value)
    print(f"model {_MODEL.value}: {deblurrer.origin}", flush=True)
    output, points = pathlib.Path(_OUTPUT.value), _points(protocol, deblurrer.sampling)
    for point in points:
        folder = output if len(points) == 1 else output / f"T{point.steps}_beta{point.beta_max}"
        if len(points) > 1 and (folder / "table.md").exists():
            continue  # done before an interruption
        table = _evaluate(
            deblurrer,
            open_pairs(),
            folder,
            **dataclasses.asdict(point),
        )
        print(f"{point.steps} step(s), beta_max {point.beta_max or 'fitted'}\n{table}", flush=True)
    return common.OK


def entry() -> None:
    common.run(main, __doc__)


if __name__ == "__main__":
    entry()
