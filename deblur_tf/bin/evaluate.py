r"""Measures PSNR and SSIM of a model on pairs with known sharp images.

  deblur-evaluate --photos=my_sharp_photos -n 8 -o results/
  deblur-evaluate --pairs=GOPRO_Large/test --crop=256 -o results/

--photos blurs sharp photos with random camera shake and noise, the same for
the same --seed; --pairs reads genuine pairs (blur/ and sharp/ folders, also
input/target and LQ/GT). Writes table.md, figures.csv and sheet.png.
"""

from __future__ import annotations

import itertools
import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from deblur_tf.bin import common

_PHOTOS = flags.DEFINE_string("photos", None, "Folder of sharp photos, to be blurred.")
_PAIRS = flags.DEFINE_string("pairs", None, "Folder of blurry/sharp pairs.")
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
_STEPS = flags.DEFINE_integer("steps", 20, "Sampling steps.", lower_bound=1)
_BETA_MAX = flags.DEFINE_float(
    "beta_max", None, "Largest noise variance of a step. Default: 10 / steps, at most 0.9."
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of blur and samples.")
_N_SAMPLES = flags.DEFINE_integer(
    "n_samples", 8, "Samples to draw and average.", lower_bound=1, short_name="n"
)


def main(argv: Sequence[str]) -> int:
    del argv
    if bool(_PHOTOS.value) == bool(_PAIRS.value):
        raise common.UsageError("give either --photos or --pairs")
    if not _OUTPUT.value:
        raise common.UsageError("-o/--output is missing")

    from tqdm import tqdm

    from deblur_tf.data.photos import open_photos
    from deblur_tf.evaluation import evaluator
    from deblur_tf.inference.deblurrer import Deblurrer

    if _PHOTOS.value:
        photos = open_photos(_PHOTOS.value)
        pairs = evaluator.synthetic_pairs(photos, _CROP.value, _SEED.value)
    else:
        pairs = evaluator.folder_pairs(_PAIRS.value, _CROP.value)
    pairs = itertools.islice(pairs, _LIMIT.value or None)
    output = pathlib.Path(_OUTPUT.value)
    output.mkdir(parents=True, exist_ok=True)
    deblurrer = Deblurrer.from_pretrained(_MODEL.value)
    print(f"model {_MODEL.value}: {deblurrer.origin}", flush=True)

    results = []
    for pair in tqdm(pairs, unit="image", disable=not sys.stderr.isatty()):
        result = evaluator.evaluate(
            deblurrer,
            pair,
            steps=_STEPS.value,
            beta_max=_BETA_MAX.value,
            seed=_SEED.value,
            n_samples=_N_SAMPLES.value,
        )
        results.append(result)
        psnrs = "  ".join(f"{k} {f['psnr']:.2f}" for k, f in result.figures.items())
        tqdm.write(f"{pair.name}: PSNR {psnrs}")
        # After each image, so that an interrupted evaluation leaves its figures.
        evaluator.write_csv(output / "figures.csv", results)
    table = evaluator.table(results, _N_SAMPLES.value)
    (output / "table.md").write_text(table + "\n", encoding="utf-8")
    rows = [[r.pair.blurry, r.sample, r.mean, r.pair.sharp] for r in results]
    titles = ["blurry", "one sample", f"mean of {_N_SAMPLES.value}", "sharp"]
    evaluator.picture_sheet(rows, titles).save(output / "sheet.png")
    print(table)
    return common.OK


def entry() -> None:
    common.run(main, __doc__)


if __name__ == "__main__":
    entry()
