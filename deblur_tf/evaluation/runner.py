"""Measures pictures against sharp ones, a few at a time, whatever the size of the set."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Sequence

from deblur_tf.base.errors import DataError, UsageError
from deblur_tf.base.versions import versions
from deblur_tf.evaluation.features import FeatureStore, MeasuredOnce
from deblur_tf.evaluation.pairs import PairSet
from deblur_tf.evaluation.report import FEATURES, SECONDS, Figures, Report, file_name, table
from deblur_tf.evaluation.stages import SHARP, Stages
from deblur_tf.evaluation.subjects import Subject
from deblur_tf.metrics.base import Metric, PerImage, SetMetric

_PACKAGES = ("numpy", "scipy", "scikit-image", "pillow", "keras", "tensorflow", "jax")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Result of an evaluation.

    Attributes:
      table: table of the figures in Markdown.
      means: figures of the whole set.
      failed: messages about pairs that could not be measured.
    """

    table: str
    means: Figures
    failed: list[str]


@dataclasses.dataclass(frozen=True)
class Shard:
    """The part of a set that one of several processes measures: every `count`-th picture."""

    index: int = 1
    count: int = 1

    def of(self, total: int) -> range:
        """Indices of its pictures in a set of `total`."""
        return range(self.index - 1, total, self.count)


ALL = Shard()


def evaluate(
    subject: Subject,
    pairs: PairSet,
    metrics: Sequence[Metric],
    report: Report | None = None,
    size: str = "whole images",
    limit: int = 0,
    shard: Shard = ALL,
    jobs: int = 1,
    on_image: Callable[[str], None] | None = None,
    once: MeasuredOnce | None = None,
) -> Outcome:
    """Measures a subject on a set; few pairs are in memory at a time, whatever its size.

    Pictures that an interrupted evaluation with the same settings has measured are skipped.

    Args:
      subject: what is measured, see `subjects`.
      pairs: pairs with known sharp images.
      metrics: the metrics to measure.
      report: stores the results; None: they are only returned.
      size: size of the pictures in words, for the table's header.
      limit: number of pairs to use, from the first on; 0: all.
      shard: the part of these pairs that is measured here.
      jobs: number of pictures measured in parallel threads; more than 1 only for a subject
        that computes nothing itself.
      on_image: called with a line for each picture.
      once: keeps what is the same in several evaluations, see there.

    Raises:
      DataError: if the names of two pictures give the same file name, see `file_name`.
    """
    kinds = _kinds(subject)
    if not subject.has_truth:
        _refuse_references(metrics)
    known = report.start(kinds) if report else {}
    files: dict[str, str] = {}
    failed: list[str] = []
    found: dict[str, Figures] = {}
    with _features_folder(report) as folder:
        store = FeatureStore(folder)
        # Features are written before figures, so figures in the report imply stored features.
        todo = []
        for index in shard.of(min(limit or len(pairs), len(pairs))):
            name = pairs.name(index)
            if (other := files.setdefault(file_name(name), name)) != name:
                raise DataError(f"{other} and {name} would share a file; rename one of them")
            if name in known:
                found[name] = known[name]
            else:
                todo.append(index)

        stages = Stages(subject, pairs, metrics, store, kinds, once)
        for outcome in stages.outcomes(todo, jobs):
            if isinstance(outcome, DataError):
                failed.append(str(outcome))
                continue
            index, name, figures, images = outcome
            found[name] = figures
            if report and name not in known:
                report.add(index, name, figures, images, subject.columns)
            if on_image is not None:
                on_image(_line(name, figures, metrics))
            del outcome, images  # which would be kept while the next pictures are made
        return summarise(subject, found, metrics, store, f"{pairs.title}, {size}", failed, report)


@contextlib.contextmanager
def _features_folder(report: Report | None) -> Iterator[pathlib.Path]:
    """The report's folder of features, or a temporary one."""
    if report:
        yield report.folder / FEATURES
        return
    with tempfile.TemporaryDirectory() as folder:
        yield pathlib.Path(folder)


def _distance(metric: SetMetric, store: FeatureStore, kind: str, names: Sequence[str]) -> float:
    """Of pictures with features; NaN where they are too few."""
    try:
        return metric.distance(*(store.rows(metric.features, k, names) for k in (kind, SHARP)))
    except DataError:
        return math.nan


def summarise(
    subject: Subject,
    found: dict[str, Figures],
    metrics: Sequence[Metric],
    store: FeatureStore,
    title: str,
    failed: Sequence[str] = (),
    report: Report | None = None,
) -> Outcome:
    """Computes the figures of the whole set from those of its pictures.

    Args:
      subject: the subject that was measured.
      found: figures of each picture by name.
      metrics: the metrics that were measured.
      store: holds the features for metrics of sets.
      title: title of the set, without its number of pictures.
      failed: messages about pairs that could not be measured.
      report: stores the results; None: they are only returned.
    """
    means: Figures = {kind: {} for kind in _kinds(subject)}
    without: dict[str, dict[str, int]] = {kind: {} for kind in means}
    infinite: dict[str, dict[str, int]] = {kind: {} for kind in means}
    for kind, row in means.items():
        for metric in metrics:
            if isinstance(metric, PerImage):
                if kind == SHARP and metric.reference:
                    continue
                values = [f[kind][metric.name] for f in found.values()]
                whole = [v for v in values if not math.isnan(v)]
                # An image that equals its reference has an infinite PSNR, which hides all others.
                finite = [v for v in whole if math.isfinite(v)] or whole
                row[metric.name] = math.fsum(finite) / len(finite) if finite else math.nan
                if len(whole) < len(values):
                    without[kind][metric.name] = len(values) - len(whole)
                if len(finite) < len(whole):
                    infinite[kind][metric.name] = len(whole) - len(finite)
            elif kind != SHARP:
                have = [n for n in sorted(found) if store.has(metric.features, kind, n)]
                row[metric.name] = _distance(metric, store, kind, have)
                if len(have) < len(found):
                    without[kind][metric.name] = len(found) - len(have)
    labels = dict(subject.labels)
    if means.get(SHARP):
        labels[SHARP] = "sharp"
    text = table(f"{len(found)} {title}", means, labels, metrics)
    for kind, row in without.items():
        text += "".join(f"\n{n} {kind} pictures have no {metric}" for metric, n in row.items())
    for kind, row in infinite.items():
        text += "".join(
            f"\n{n} {kind} pictures equal the sharp one; their {metric} is not in the mean"
            for metric, n in row.items()
        )
    outcome = Outcome(text, means, list(failed))
    if report:
        seconds = [f[subject.made][SECONDS] for f in found.values()]
        about = {
            "title": title,
            "pictures": len(found),
            "seconds_a_picture": math.fsum(seconds) / len(seconds) if any(seconds) else None,
            "labels": subject.labels,
            "columns": subject.columns,
            "made": subject.made,
            "kinds": list(means),
            "means": means,
            "pictures_without": without,
            "pictures_equal": infinite,
            "metrics": {m.name: {"label": m.label, **m.about} for m in metrics},
            "versions": versions(_PACKAGES),
            "failed": list(failed),
        }
        report.finish(text, about, subject.columns, failed)
    return outcome


def _kinds(subject: Subject) -> list[str]:
    return [*subject.labels, *([SHARP] if subject.has_truth else [])]


def _refuse_references(metrics: Sequence[Metric]) -> None:
    """Raises UsageError for metrics that compare with sharp pictures."""
    wrong = [m.name for m in metrics if not isinstance(m, PerImage) or m.reference]
    if wrong:
        raise UsageError(
            f"{', '.join(wrong)} compare with sharp pictures, of which there are none here: give "
            "--sharp, or --metrics=niqe"
        )


def _line(name: str, figures: Figures, metrics: Sequence[Metric]) -> str:
    first = next((m for m in metrics if isinstance(m, PerImage)), None)
    if first is None:
        return name
    values = (
        f"{kind} {row[first.name]:.{first.digits}f}"
        for kind, row in figures.items()
        if first.name in row
    )
    return f"{name}: {first.label} " + "  ".join(values)
