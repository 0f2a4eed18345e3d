r"""Does guidance help on blur that a model has not seen? A small experiment.

  python benchmarks/domain_gap.py --photos=TRAIN --test_photos=TEST --gopro=GOPRO/test \
      --steps=1000 --seeds=3 --output=runs/domain_gap

Trains the unguided icDPM, the guided one and DvSR, of about the same number of
parameters, on photographs under one kind of blur (camera shake up to 12 pixels, noise
up to 5 of 255). Tests each on other photographs under that blur, on the same ones under
another (straight motion of 8 to 20 pixels, noise of 10 to 15, JPEG), and on genuine
GoPro pairs. Writes a table of PSNR and SSIM: mean and standard deviation over seeds, of
the mean over images. Finished runs are kept: the same command continues.
"""

from __future__ import annotations

import io
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import app, flags

_PHOTOS = flags.DEFINE_string("photos", None, "Folder of sharp photos to train on.", required=True)
_TEST_PHOTOS = flags.DEFINE_string("test_photos", None, "Sharp photos to test on.", required=True)
_GOPRO = flags.DEFINE_string("gopro", None, "Folder of genuine pairs, e.g. GOPRO_Large/test.")
_STEPS = flags.DEFINE_integer("steps", 1000, "Training steps of each model.")
_BATCH = flags.DEFINE_integer("batch", 8, "Batch size.")
_CROP = flags.DEFINE_integer("crop", 48, "Side of a training crop.")
_SEEDS = flags.DEFINE_integer("seeds", 3, "Number of seeds with which each model is trained.")
_CH = flags.DEFINE_integer("ch", 8, "Channels of the guided model's UNet.")
_SAMPLES = flags.DEFINE_integer("samples", 4, "Number of samples to average.")
_OUTPUT = flags.DEFINE_string("output", "runs/domain_gap", "Folder for runs and table.")

SIDE = 128  # of the central test crops, in pixels
SAMPLING = {"steps": 3, "beta_max": 0.9}
DOMAINS = ("seen blur", "unseen blur", "GoPro")
MODELS = ("unguided", "guided", "DvSR")


def settings(model: str, seed: int) -> tuple[list[str], list[str]]:
    """Gin files and overrides of a training; models differ in the network only."""
    common = [
        f"PHOTOS = {_PHOTOS.value!r}",
        "MAX_EXTENT = 12.0",
        "MAX_STDDEV = 5.0",
        f"SEED = {seed}",
        f"BATCH_SIZE = {_BATCH.value}",
        f"CROP_SIZE = {_CROP.value}",
        f"TOTAL_STEPS = {_STEPS.value}",
        "RES_BLOCKS = 1",
        "MIDDLE_BLOCKS = 1",
        "OUTPUT = @Velocity()",
        "LEARNING_RATE = 1e-3",
        "WARMUP_STEPS = 50",
        "WARM_START_STEPS = 50",
        "EMA_DECAY = 0.99",
        "Recipe.log_every = 100",
        "Recipe.checkpoint_every = 250",
        "Recipe.keep_checkpoints = 1",
    ]
    # Widths that give about as many parameters as the guided model has.
    guided = ["models/icdpm.gin", "models/guidance/multiscale.gin"]
    parts, widths = {
        "unguided": (["models/icdpm_unguided.gin"], {"CH": 1.125}),
        "guided": (guided, {"CH": 1.0, "GUIDE_CH": 0.5}),
        "DvSR": (["models/dvsr.gin"], {"CH": 0.75, "PREDICTOR_CH": 0.875}),
    }[model]
    files = [*parts, "recipes/cpu.gin", "data/photos.gin"]
    return files, common + [f"{name} = {round(_CH.value * w)}" for name, w in widths.items()]


def train(model: str, seed: int, run_dir: pathlib.Path) -> None:
    """Trains one model, or continues its training."""
    from deblur_tf import config
    from deblur_tf.training import distribution, run

    config.load(*settings(model, seed))
    recipe = config.build("Recipe")
    if signal_number := run.train(run.prepare(recipe, run_dir, distribution.choose())):
        raise SystemExit(128 + signal_number)


def straight_motion(photo: Any, rng: Any) -> Any:
    """The unseen blur, straight motion: uint8 [H + 30, W + 30, 3] -> uint8 [H, W, 3]."""
    import numpy as np
    from PIL import Image

    from deblur_tf.data import blur

    angle, extent = rng.uniform(0, np.pi), rng.uniform(8, 20)
    line = np.linspace(-0.5, 0.5, 256)[:, None] * [np.sin(angle), np.cos(angle)]
    blurry = blur.convolve(photo, blur.rasterize(extent * line))
    noisy = blurry + rng.uniform(10, 15) * rng.standard_normal(blurry.shape)
    pixels = np.round(np.clip(noisy, 0, 255)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "jpeg", quality=70)
    return np.asarray(Image.open(buffer))


def pairs(domain: str) -> Any:
    """The test pairs of a domain, the same for every model."""
    import numpy as np

    from deblur_tf.data import blur
    from deblur_tf.data.blur import MARGIN
    from deblur_tf.data.photos import open_photos
    from deblur_tf.evaluation.pairs import Numbered, centre_crop, folder

    if domain == "GoPro":
        return folder(_GOPRO.value, 2 * SIDE)
    photos = open_photos(_TEST_PHOTOS.value)

    def read(index: int) -> tuple[Any, Any]:
        rng = np.random.default_rng((99, index))
        window = centre_crop(photos[index], SIDE + 2 * MARGIN)
        sharp = window[MARGIN:-MARGIN, MARGIN:-MARGIN]
        if domain == "seen blur":
            return blur.degrade(window, rng, max_extent=12.0, max_stddev=5.0), sharp
        return straight_motion(window, rng), sharp

    return Numbered(domain, len(photos), "{:02d}".format, read)


def measure(run_dir: pathlib.Path, seed: int) -> dict[str, Any]:
    """Figures of a trained model: {domain: {"blurry" | "sample" | "mean": {...}}}."""
    from deblur_tf import metrics
    from deblur_tf.evaluation.report import Report
    from deblur_tf.evaluation.runner import evaluate
    from deblur_tf.evaluation.subjects import Restored
    from deblur_tf.inference.deblurrer import Deblurrer

    deblurrer = Deblurrer.from_pretrained(run_dir)
    chosen = metrics.choose(["psnr", "ssim"])
    settings = {"seed": seed, "n_samples": _SAMPLES.value, **SAMPLING}
    figures = {}
    for domain in DOMAINS:
        if domain != "GoPro" or _GOPRO.value:
            report = Report(run_dir / domain, settings, chosen)
            subject = Restored(deblurrer, **settings)
            outcome = evaluate(subject, pairs(domain), chosen, report, "crops")
            figures[domain] = outcome.means
    return figures


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """Markdown: a row for each model, a column for each domain."""
    import numpy as np

    domains = [d for d in DOMAINS if d in next(iter(found.values()))[0]]
    lines = [f"| PSNR (dB) / SSIM | {' | '.join(domains)} |", "|---" * (len(domains) + 1) + "|"]

    def row(label: str, kind: str, runs: list[dict[str, Any]], spread: bool) -> str:
        cells = []
        for domain in domains:
            psnr, ssim = ([r[domain][kind][m] for r in runs] for m in ("psnr", "ssim"))
            deviations = [np.std(v, ddof=1) if spread else 0.0 for v in (psnr, ssim)]
            cells.append(
                f"{np.mean(psnr):.2f} ± {deviations[0]:.2f} / "
                f"{np.mean(ssim):.3f} ± {deviations[1]:.3f}"
                if spread
                else f"{np.mean(psnr):.2f} / {np.mean(ssim):.3f}"
            )
        return f"| {label} | {' | '.join(cells)} |"

    lines.append(row("blurry input", "blurry", next(iter(found.values())), False))
    kinds = [("sample", "one sample"), ("mean", f"mean of {_SAMPLES.value}")]
    for kind, label in kinds[: 1 + (_SAMPLES.value > 1)]:
        for model, runs in found.items():
            lines.append(row(f"{model}, {label}", kind, runs, len(runs) > 1))
    return "\n".join(lines)


def main(argv: Sequence[str]) -> None:
    del argv
    output = pathlib.Path(_OUTPUT.value)
    found: dict[str, list[dict[str, Any]]] = {model: [] for model in MODELS}
    # One seed after the other, so that a first table is written early.
    for seed in range(_SEEDS.value):
        for model in MODELS:
            run_dir = output / f"{model}_{seed}"
            result = run_dir / "figures.json"
            if not result.exists():
                train(model, seed, run_dir)
                result.write_text(json.dumps(measure(run_dir, seed)), encoding="utf-8")
            found[model].append(json.loads(result.read_text(encoding="utf-8")))
        text = table(found)
        (output / "table.md").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    app.run(main)
