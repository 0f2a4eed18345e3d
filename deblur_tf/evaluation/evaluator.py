"""Restores pairs with known sharp images and measures the result."""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from deblur_tf.data.folders import find_pairs
from deblur_tf.data.photos import PhotoSet
from deblur_tf.data.synthesis import MARGIN, shaken
from deblur_tf.data.tfds_pairs import TfdsImages
from deblur_tf.evaluation.metrics import psnr, ssim, ssim_matlab
from deblur_tf.image_ops import to_uint8_array

METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "psnr": psnr,
    "ssim": ssim,
    "ssim_matlab": ssim_matlab,
}


# What is measured of each pair. "smoothed" is `best_smoothing` of the blurry image:
# a model that gains less than that has not learned its task.
KINDS = ("blurry", "smoothed", "sample", "mean")


@dataclasses.dataclass(frozen=True)
class Pair:
    """A blurry image with its sharp one, uint8 [H, W, 3] each."""

    name: str
    blurry: np.ndarray
    sharp: np.ndarray


@dataclasses.dataclass(frozen=True)
class Result:
    """One restored pair.

    Attributes:
      pair: input and truth.
      sample: the first sample, uint8 [H, W, 3].
      mean: the mean of all samples, uint8 [H, W, 3].
      figures: {kind: {metric: value}} for each kind of `KINDS`.
    """

    pair: Pair
    sample: np.ndarray
    mean: np.ndarray
    figures: dict[str, dict[str, float]]


def centre_crop(image: np.ndarray, size: int) -> np.ndarray:
    """The middle `size` x `size` pixels, or what there is; 0: all."""
    if not size:
        return image
    height, width = image.shape[:2]
    top, left = max(height - size, 0) // 2, max(width - size, 0) // 2
    return image[top : top + size, left : left + size]


def synthetic_pairs(photos: PhotoSet, crop: int, seed: int = 0) -> Iterator[Pair]:
    """Photos blurred by random camera shake (DvSR app. C), one pair each.

    Args:
      photos: sharp photographs.
      crop: side of the central crop in pixels; 0 takes whole photos.
      seed: the blur of photo i depends on (seed, i) alone.
    """
    for i, path in enumerate(photos.paths):
        rng = np.random.default_rng((seed, i))
        window = centre_crop(photos[i], crop and crop + 2 * MARGIN)
        yield Pair(path.stem, *shaken(window, rng, str(path)))


def folder_pairs(root: str | os.PathLike[str], crop: int) -> Iterator[Pair]:
    """The pairs of `folders.find_pairs`, read one by one.

    Raises:
      DataError: at once, if there are no pairs or a partner is missing; later,
        if a file cannot be read or the sizes of a pair differ.
    """
    found = find_pairs(root)

    def read() -> Iterator[Pair]:
        for pair in found:
            blurry, sharp = pair.read()
            yield Pair(pair.id, centre_crop(blurry, crop), centre_crop(sharp, crop))

    return read()


def prepared_pairs(
    dataset: str, data_dir: str | os.PathLike[str] | None, split: str, crop: int
) -> Iterator[Pair]:
    """The pairs of a data set that deblur-data prepared, in its order.

    Raises:
      DataError: if there is no such data set or split.
    """
    images = TfdsImages(dataset, data_dir, split)
    for i in range(len(images)):
        blurry, sharp = images[i]
        yield Pair(images.id(i), centre_crop(blurry, crop), centre_crop(sharp, crop))


def best_smoothing(blurry: np.ndarray, sharp: np.ndarray) -> np.ndarray:
    """The Gaussian smoothing of `blurry` that comes nearest to `sharp`.

    Standard deviations go up from 0 by a factor of sqrt(2) from half a pixel on,
    until PSNR falls. It knows the sharp image, and is a baseline, not a method.

    uint8 [H, W, 3] twice -> uint8 [H, W, 3].
    """
    best, score = blurry, psnr(blurry, sharp)
    for exponent in range(12):
        sigma = 0.5 * 2 ** (exponent / 2)
        smooth = ndimage.gaussian_filter(blurry.astype(np.float32), (sigma, sigma, 0))
        smooth = np.round(smooth).astype(np.uint8)
        if (found := psnr(smooth, sharp)) <= score:
            break
        best, score = smooth, found
    return best


def evaluate(deblurrer: Any, pair: Pair, **settings: Any) -> Result:
    """Restores one pair; `settings` are those of `Deblurrer.samples`."""
    samples = deblurrer.samples(pair.blurry, **settings)
    images = {
        "blurry": pair.blurry,
        "smoothed": best_smoothing(pair.blurry, pair.sharp),
        "sample": to_uint8_array(samples[0]),
        "mean": to_uint8_array(samples.mean(axis=0)),
    }
    figures = {
        kind: {name: metric(image, pair.sharp) for name, metric in METRICS.items()}
        for kind, image in images.items()
    }
    return Result(pair, images["sample"], images["mean"], figures)


def averages(results: Sequence[Result]) -> dict[str, dict[str, float]]:
    """Means over images of the figures of `Result`."""
    return {
        kind: {name: float(np.mean([r.figures[kind][name] for r in results])) for name in METRICS}
        for kind in KINDS
    }


def table(results: Sequence[Result], n_samples: int) -> str:
    """A Markdown table of the averages."""
    labels = {
        "blurry": "blurry input",
        "smoothed": "best Gaussian smoothing of each",
        "sample": "one sample",
        "mean": f"mean of {n_samples} samples",
    }
    lines = [
        f"| {len(results)} images | PSNR (dB) | SSIM | SSIM (MATLAB 3-D) |",
        "|---|---|---|---|",
    ]
    for kind, row in averages(results).items():
        if kind == "mean" and n_samples == 1:
            continue  # the sample itself
        lines.append(
            f"| {labels[kind]} | {row['psnr']:.2f} | {row['ssim']:.4f} | {row['ssim_matlab']:.4f} |"
        )
    return "\n".join(lines)


def write_csv(path: str | os.PathLike[str], results: Sequence[Result]) -> None:
    """Every figure of every image."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "kind", *METRICS])
        for result in results:
            for kind, row in result.figures.items():
                writer.writerow([result.pair.name, kind, *(f"{v:.4f}" for v in row.values())])


def picture_sheet(
    rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str], side: int = 256
) -> Image.Image:
    """Rows of images under column titles, each fitted into `side` pixels."""
    bar, gap = 18, 2
    cells = []
    for row in rows:
        cells.append([Image.fromarray(pixels) for pixels in row])
        for image in cells[-1]:
            image.thumbnail((side, side), Image.Resampling.LANCZOS)
    width = max(image.width for row in cells for image in row) + gap
    heights = [max(image.height for image in row) + gap for row in cells]
    sheet = Image.new("RGB", (width * len(titles), bar + sum(heights)), "white")
    draw = ImageDraw.Draw(sheet)
    for i, title in enumerate(titles):
        draw.text((width * i + 4, 3), title, fill="black")
    top = bar
    for row, height in zip(cells, heights, strict=True):
        for i, image in enumerate(row):
            sheet.paste(image, (width * i, top))
        top += height
    return sheet
