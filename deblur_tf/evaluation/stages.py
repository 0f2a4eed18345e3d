"""Makes and measures pictures, a few at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from deblur_tf.base.errors import DataError
from deblur_tf.evaluation.features import FeatureStore, MeasuredOnce
from deblur_tf.evaluation.pairs import Pair, PairSet
from deblur_tf.evaluation.report import SECONDS, Figures
from deblur_tf.evaluation.subjects import Images, Subject
from deblur_tf.metrics.base import Metric, PerImage, SetMetric

SHARP = "sharp"

Made = tuple[int, Pair, Images, float]  # index of the pair, the pair, its pictures, seconds
Measured = tuple[int, str, Figures, Images]  # index and name of the pair, figures, pictures


class Stages:
    """The stages that each pair of an evaluation passes: read, make, judge.

    Args:
      subject: what is measured.
      pairs: pairs with known sharp images.
      metrics: the metrics to measure.
      store: keeps the features for metrics of sets.
      kinds: kinds of pictures that have figures.
      once: see `MeasuredOnce`.
    """

    def __init__(
        self,
        subject: Subject,
        pairs: PairSet,
        metrics: Sequence[Metric],
        store: FeatureStore,
        kinds: Sequence[str],
        once: MeasuredOnce | None = None,
    ):
        self.subject, self.pairs, self.metrics = subject, pairs, metrics
        self.store, self.kinds, self.once = store, kinds, once

    def outcomes(self, items: Sequence[int], jobs: int = 1) -> Iterator[Measured | DataError]:
        """The figures of each pair, or why it has none, in order.

        With one job, pictures are made here while another thread judges those of the batch before,
        so that an accelerator does not wait for metrics. With more, each thread makes and judges.

        Args:
          items: indices of the pairs.
          jobs: number of threads; more than 1 only for a subject that computes nothing itself.
        """

        def both(batch: Sequence[int]) -> list[Measured | DataError]:
            return [self._judge(one) for one in self._make(batch)]

        batch_size = self.subject.batch_size
        batches = [items[i : i + batch_size] for i in range(0, len(items), batch_size)]
        with ThreadPoolExecutor(jobs) as pool:
            if jobs > 1:
                for start in range(0, len(batches), jobs):
                    some = batches[start : start + jobs]
                    for judged in pool.map(both, some):
                        yield from judged
                return
            waiting: list[Future[Any]] = []
            for batch in batches:
                try:
                    made = self._make(batch)
                except BaseException:  # what is made already is not lost
                    yield from (future.result() for future in waiting)
                    raise
                yield from (future.result() for future in waiting)
                waiting = [pool.submit(self._judge, one) for one in made]
            yield from (future.result() for future in waiting)

    def _read(self, index: int) -> Pair | DataError:
        try:
            pair = self.pairs[index]
            _refuse_small(pair, self.metrics)
            return pair
        except DataError as error:  # the other pictures are still measured
            return error

    def _make(self, indices: Sequence[int]) -> list[Made | DataError]:
        """The pictures of some pairs, those of one size and with the same needs together."""
        made: list[Any] = [self._read(index) for index in indices]
        groups: dict[Any, list[int]] = {}
        for i, pair in enumerate(made):
            if isinstance(pair, Pair):
                before = tuple(self.once.figures(pair.name)) if self.once else ()
                groups.setdefault((pair.sharp.shape, before), []).append(i)
        for (_, before), members in groups.items():
            group = [made[i] for i in members]
            try:
                images = self.subject.images(group, before)
            except DataError as error:
                images = [error] * len(group)
            for i, pair, own in zip(members, group, images, strict=True):
                made[i] = own if isinstance(own, DataError) else (indices[i], pair, *own)
        return made

    def _judge(self, one: Made | DataError) -> Measured | DataError:
        """The figures of the pictures of a pair."""
        if isinstance(one, DataError):
            return one
        index, pair, images, seconds = one
        if self.subject.has_truth:
            images[SHARP] = pair.sharp
        before = self.once.figures(pair.name) if self.once else {}
        new = {kind: image for kind, image in images.items() if kind not in before}
        figures = before | _figures(new, self.metrics, self.store, pair.name, pair.sharp)
        figures = {kind: dict(figures[kind]) for kind in self.kinds}
        for kind, row in figures.items():
            row[SECONDS] = seconds if kind == self.subject.made else 0.0
        if self.once and before:
            self.once.copy_features(pair.name, self.metrics, self.store)
        elif self.once:
            fixed = {k: figures[k] for k in self.kinds if k in (*self.subject.fixed_kinds, SHARP)}
            self.once.add(pair.name, fixed, self.store)
        return index, pair.name, figures, images


def _figures(
    images: Images,
    metrics: Sequence[Metric],
    store: FeatureStore,
    name: str,
    sharp: np.ndarray,
) -> Figures:
    figures: Figures = {}
    height, width = sharp.shape[:2]
    metrics = [m for m in metrics if isinstance(m, PerImage) or m.fits(height, width)]
    for kind, image in images.items():
        figures[kind] = {
            metric.name: _measured(metric, image, sharp)
            for metric in metrics
            if isinstance(metric, PerImage) and (kind != SHARP or not metric.reference)
        }
        for metric in metrics:
            if isinstance(metric, SetMetric):
                store.add(metric.features, kind, name, image)
    return figures


def _measured(metric: PerImage, image: np.ndarray, sharp: np.ndarray) -> float:
    """The value, or NaN if the picture has none: means omit it, and the report counts it."""
    if min(sharp.shape[:2]) < metric.min_side:
        return math.nan
    try:
        return metric.measure(image, sharp)
    except DataError:
        return math.nan


def _refuse_small(pair: Pair, metrics: Sequence[Metric]) -> None:
    """Raises DataError if no metric can measure so small a picture."""
    height, width = pair.sharp.shape[:2]
    least = min(metrics, key=lambda metric: metric.min_side)
    if min(height, width) < least.min_side:
        raise DataError(
            f"{pair.name}: {width}x{height} pixels; {least.label} needs {least.min_side} a side"
        )
