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
    "steps", None, "Sampling steps. Default: the gin file's, or 20.", lower_bound=1
)
_BETA_MAX = flags.DEFINE_float(
    "beta_max",
    None,
    "Largest noise variance of a step. Default: the gin file's, or 10 / steps, at most 0.9.",
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of blur and samples.")
_N_SAMPLES = flags.DEFINE_integer(
    "n_samples",
    None,
    "Samples to draw and average. Default: the gin file's, or 8.",
    lower_bound=1,
    short_name="n",
)


def _protocol() -> Any:
    """That of the gin file, or the default, with what flags say."""
    import dataclasses

    from deblur_tf import config
    from deblur_tf.evaluation.protocol import Protocol

    protocol = Protocol()
    if _GIN_FILE.value:
        config.load(_GIN_FILE.value, _GIN_PARAM.value)
        protocol = config.build("Protocol")
    flagged = {f.name: f.value for f in (_STEPS, _BETA_MAX, _N_SAMPLES) if f.value is not None}
    if "steps" in flagged or "beta_max" in flagged:
        flagged = {"beta_max": None, "grid": ()} | flagged
    return dataclasses.replace(protocol, **flagged)


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
    rows = [[r.pair.blurry, r.sample, r.mean, r.pair.sharp] for r in results]
    titles = ["blurry", "one sample", f"mean of {n_samples}", "sharp"]
    evaluator.picture_sheet(rows, titles).save(output / "sheet.png")
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
    output, points = pathlib.Path(_OUTPUT.value), protocol.points()
    for steps, beta_max in points:
        folder = output if len(points) == 1 else output / f"T{steps}_beta{beta_max}"
        if len(points) > 1 and (folder / "table.md").exists():
            continue  # done before an interruption
        table = _evaluate(
            deblurrer,
            open_pairs(),
            folder,
            steps=steps,
            beta_max=beta_max,
            n_samples=protocol.n_samples,
        )
        print(f"{steps} steps, beta_max {beta_max or 'fitted'}\n{table}", flush=True)
    return common.OK


def entry() -> None:
    common.run(main, __doc__)


if __name__ == "__main__":
    entry()
