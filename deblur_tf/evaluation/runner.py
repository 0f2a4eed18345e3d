"""Restores pairs with known sharp images and measures the result, one at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from deblur_tf.errors import DataError
from deblur_tf.evaluation.baselines import best_smoothing
from deblur_tf.evaluation.pairs import Pair, PairSet
from deblur_tf.evaluation.report import Figures, Report, table
from deblur_tf.image_ops import to_uint8_array
from deblur_tf.metrics.base import Mean, Metric, Tally

# What is measured of each pair: the input, `best_smoothing` of it, the first sample, and,
# of several, their mean.
LABELS = {
    "blurry": "blurry input",
    "smoothed": "best Gaussian smoothing of each",
    "sample": "one sample",
    "mean": "mean of {} samples",
}


# Columns of the sheet, before the sharp picture.
_SHOWN = {"blurry": "blurry", "one sample": "sample", "mean of {}": "mean"}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Of an evaluation.

    Attributes:
      table: in Markdown.
      means: figures of the whole set.
      failed: what could not be read, as messages.
    """

    table: str
    means: Figures
    failed: list[str]


def restored_kinds(deblurrer: Any, pair: Pair, **settings: Any) -> dict[str, np.ndarray]:
    """The picture of each kind, uint8 [H, W, 3]; `settings` are of `Deblurrer.samples`."""
    samples = deblurrer.samples(pair.blurry, **settings)
    images = {
        "blurry": pair.blurry,
        "smoothed": best_smoothing(pair.blurry, pair.sharp),
        "sample": to_uint8_array(samples[0]),
    }
    if len(samples) > 1:
        images["mean"] = to_uint8_array(samples.mean(axis=0))
    return images


def evaluate(
    deblurrer: Any,
    pairs: PairSet,
    metrics: Sequence[Metric],
    report: Report | None = None,
    size: str = "whole images",
    n_samples: int = 1,
    limit: int = 0,
    on_image: Callable[[str], None] | None = None,
    **settings: Any,
) -> Outcome:
    """Measures a model on a set; in memory is one pair, whatever the size of the set.

    What an interrupted evaluation with the same settings measured is not done again,
    where every picture has a value of every metric.

    Args:
      deblurrer: a `Deblurrer`.
      pairs: with known sharp images.
      metrics: what to measure.
      report: gets the results; None: they are only returned.
      size: of the pictures, in words, for the table's header.
      n_samples: drawn and averaged.
      limit: use only the first so many pairs; 0: all.
      on_image: called with a line for each picture.
      settings: the others of `Deblurrer.samples`.
    """
    count = min(limit or len(pairs), len(pairs))
    kinds = [kind for kind in LABELS if kind != "mean" or n_samples > 1]
    tallies = {kind: {m.name: m.start() for m in metrics} for kind in kinds}
    resumable = all(isinstance(tally, Mean) for tally in tallies["sample"].values())
    known: dict[str, Figures] = {}
    if report:
        if resumable:
            known = {n: f for n, f in report.found.items() if set(f) == set(kinds)}
        report.start(known)
    failed: list[str] = []
    for i in range(count):
        name = pairs.name(i)
        if report and i >= report.sheet_rows and name in known:
            _count(tallies, known[name])
            continue
        try:
            pair = pairs[i]
            _refuse_small(pair, metrics)
        except DataError as error:  # what the others gave is kept
            failed.append(str(error))
            continue
        images = restored_kinds(deblurrer, pair, n_samples=n_samples, **settings)
        figures: Figures = {kind: {} for kind in kinds}
        for kind, image in images.items():
            for metric, tally in tallies[kind].items():
                value = tally.add(image, pair.sharp)
                if value is not None:
                    figures[kind][metric] = value
        if report:
            shown = {k.format(n_samples): images[v] for k, v in _SHOWN.items() if v in images}
            report.add(name, figures, shown | {"sharp": pair.sharp})
        if on_image is not None:
            on_image(_line(name, figures, metrics[0]))
    means = {
        kind: {name: tally.result() for name, tally in row.items()} for kind, row in tallies.items()
    }
    labels = {kind: LABELS[kind].format(n_samples) for kind in kinds}
    title = f"{count - len(failed)} {pairs.title}, {size}"
    text = table(title, means, labels, metrics)
    if report:
        report.finish(text, failed)
    return Outcome(text, means, failed)


def _refuse_small(pair: Pair, metrics: Sequence[Metric]) -> None:
    """Raises DataError if a metric cannot measure so small a picture."""
    height, width = pair.sharp.shape[:2]
    largest = max(metrics, key=lambda metric: metric.min_side)
    if min(height, width) < largest.min_side:
        raise DataError(
            f"{pair.name}: {width}x{height} pixels; {largest.label} needs {largest.min_side} a side"
        )


def _count(tallies: dict[str, dict[str, Tally]], figures: Figures) -> None:
    for kind, row in figures.items():
        for metric, value in row.items():
            tallies[kind][metric].count(value)


def _line(name: str, figures: Figures, metric: Metric) -> str:
    values = (
        f"{kind} {row[metric.name]:.{metric.digits}f}"
        for kind, row in figures.items()
        if metric.name in row
    )
    return f"{name}: {metric.label} " + "  ".join(values)
