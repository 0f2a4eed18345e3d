"""Draws the papers' figures of a model into a folder; the numbers come from `analyses`."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from deblur_tf.base.files import replacing, write_csv
from deblur_tf.data import blur
from deblur_tf.evaluation import analyses
from deblur_tf.evaluation.pairs import Pair
from deblur_tf.evaluation.sheets import picture_sheet
from deblur_tf.evaluation.subjects import picture_seed
from deblur_tf.metrics.psnr import psnr
from deblur_tf.numerics.image_ops import to_uint8_array

ROWS = 8  # of pictures on a sheet


def save_sheet(path: pathlib.Path, rows: Sequence[Sequence[Any]], titles: Sequence[str]) -> None:
    """Writes a sheet of pictures as PNG."""
    with replacing(path) as file:
        picture_sheet(rows, titles).save(file, "png")


def guidance(deblurrer: Any, pairs: Iterable[Pair], output: pathlib.Path) -> str:
    """Writes guidance.png: input, prediction and features of the guidance network by scale.

    Shows the first `ROWS` pairs. Returns a line on what was made, as `residual` and
    `diversity` do.
    """
    rows = []
    for pair in pairs:
        row = [pair.input]
        for scale in analyses.guidance_pictures(deblurrer, pair.input):
            for name in ("input", "prediction", "features"):
                image = scale[name]
                row.append(np.repeat(image, 3, -1) if image.shape[-1] == 1 else image)
        rows.append([_enlarged(image) for image in row])
        if len(rows) == ROWS:
            break
    titles = ["blurry"] + [
        f"{what}, x{2**k}"
        for k in deblurrer.model.guidance_scales
        for what in ("input", "predicted", "features")
    ]
    save_sheet(output / "guidance.png", rows, titles)
    return f"{len(rows)} rows in {output / 'guidance.png'}"


def _enlarged(image: np.ndarray, side: int = 256) -> np.ndarray:
    """Repeats pixels until the picture fills a cell of the sheet."""
    factor = max(1, side // max(image.shape[:2]))
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


# What DvSR's sec. 6.1 prints for DIV2K under camera shake, in bits per value.
PRINTED_BITS = {"sharp": 7.42, "residual": 3.91}


def residual(
    deblurrer: Any, pairs: Iterable[Pair], output: pathlib.Path, seed: int = 0, **sampling: Any
) -> str:
    """Writes residual.png and residual.csv: the first prediction, and its residual.

    `sampling`: settings of `Deblurrer.samples`; `seed`: see `picture_seed`.
    """
    sheet, rows = [], []
    entropies = {"sharp": analyses.Entropy(), "residual": analyses.Entropy()}
    for pair in pairs:
        predicted = analyses.prediction(deblurrer, pair.input)
        lacks = pair.sharp.astype(int) - predicted
        entropies["sharp"].add(pair.sharp)
        entropies["residual"].add(lacks)
        own = {}
        for kind, values in (("sharp", pair.sharp), ("residual", lacks)):
            one = analyses.Entropy()
            one.add(values)
            own[f"{kind}_bits"] = one.result()
        figures = {k: psnr(x, pair.sharp) for k, x in (("blurry", pair.input), ("pred", predicted))}
        rows.append({"image": pair.name, **{f"psnr_{k}": v for k, v in figures.items()}, **own})
        if len(sheet) < ROWS:
            shown = np.uint8(np.clip(np.round(lacks / 2 + 128), 0, 255))
            own_seed = picture_seed(seed, pair.name)
            restored = to_uint8_array(deblurrer.samples(pair.input, own_seed, **sampling)[0])
            sheet.append([pair.blurry, predicted, restored, pair.sharp, shown])
    write_csv(output / "residual.csv", rows)
    titles = ["blurry", "first prediction", "sample", "sharp", "residual / 2"]
    save_sheet(output / "residual.png", sheet, titles)
    found = {kind: entropy.result() for kind, entropy in entropies.items()}
    return (
        f"entropy of {len(rows)} pictures: sharp {found['sharp']:.2f}, residual "
        f"{found['residual']:.2f} bits per value; the paper prints {PRINTED_BITS['sharp']} and "
        f"{PRINTED_BITS['residual']} for DIV2K under camera shake"
    )


def kernels(output: pathlib.Path, seed: int = 0, rows: int = 4, columns: int = 12) -> str:
    """Writes kernels.png: random kernels of camera shake (DvSR fig. 9), scaled up to white."""
    rng = np.random.default_rng(seed)
    sheet = []
    for _ in range(rows):
        drawn = [blur.random_kernel(rng) for _ in range(columns)]
        sheet.append([_enlarged(_gray(255.0 * k / k.max()), 96) for k in drawn])
    save_sheet(output / "kernels.png", sheet, [])
    return f"{rows * columns} kernels: {output / 'kernels.png'}"


def _gray(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.round(values).astype(np.uint8)[..., None], 3, axis=-1)


def diversity(
    deblurrer: Any,
    pairs: Iterable[Pair],
    output: pathlib.Path,
    n_samples: int,
    seed: int = 0,
    **sampling: Any,
) -> str:
    """Writes diversity.png, diversity.csv, and sharpness.png with a point for each picture.

    `sampling`: settings of `Deblurrer.samples`; `seed`: see `picture_seed`.
    """
    sheet, rows = [], []
    for pair in pairs:
        own_seed = picture_seed(seed, pair.name)
        samples = deblurrer.samples(pair.input, own_seed, n_samples=n_samples, **sampling)
        rows.append(
            {
                "image": pair.name,
                "sharpness": analyses.sharpness(pair.input, pair.sharp),
                "diversity": analyses.diversity(samples, pair.sharp),
                "mean_deviation": float(127.5 * samples.std(axis=0, ddof=1).mean()),
            }
        )
        if len(sheet) < ROWS:
            deviation = 127.5 * samples.std(axis=0, ddof=1).mean(-1, keepdims=True)
            shown = np.uint8(np.clip(np.round(8 * deviation), 0, 255)).repeat(3, -1)
            first = [to_uint8_array(s) for s in samples[:2]]
            sheet.append([pair.blurry, *first, to_uint8_array(samples.mean(0)), shown, pair.sharp])
    write_csv(output / "diversity.csv", rows)
    titles = ["blurry", "sample 1", "sample 2", "mean", "deviation x 8", "sharp"]
    save_sheet(output / "diversity.png", sheet, titles)
    figure = Figure(figsize=(5, 4), layout="constrained")
    axis = figure.subplots()
    axis.scatter([r["sharpness"] for r in rows], [r["diversity"] for r in rows], s=12)
    axis.set(xlabel="sharpness of the input", ylabel=f"diversity of {n_samples} samples")
    axis.grid(alpha=0.3)
    with replacing(output / "sharpness.png") as file:
        figure.savefig(file, format="png", dpi=120)
    values = np.array([[r["sharpness"], r["diversity"]] for r in rows])
    if len(rows) < 3:
        return f"{len(rows)} pictures; a correlation needs three"
    rank = spearmanr(values[:, 0], values[:, 1]).statistic
    return f"{len(rows)} pictures: rank correlation of sharpness and diversity {rank:.2f}"
