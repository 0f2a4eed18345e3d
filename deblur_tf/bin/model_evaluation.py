"""Measures a model at each of its sampling settings, and at the one that a row chooses."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

from deblur_tf.base.errors import UnfinishedError
from deblur_tf.base.words import in_words
from deblur_tf.bin.measuring import ChosenMetrics, Measured, grid_cost, measure


@dataclasses.dataclass(frozen=True)
class ModelEvaluation:
    """A model, a test set, and how it is measured.

    Attributes:
      deblurrer: a `Deblurrer`.
      protocol: a `Protocol`.
      metrics: the metrics to measure.
      pairs: the test set.
      output: folder of the results.
      row: from `measuring.row_of`.
      part: number and count of the part of the pictures that is measured here.
      crop: side of the central crop in pixels; 0 for whole images.
      limit: number of pictures, from the first; 0: all.
      seed: seed of the samples.
      save: whether to keep the pictures.
      batch_size: see `subjects.Restored`.
    """

    deblurrer: Any
    protocol: Any
    metrics: ChosenMetrics
    pairs: Any
    output: pathlib.Path
    row: dict[str, Any] | None = None
    part: tuple[int, int] = (1, 1)
    crop: int = 0
    limit: int = 0
    seed: int = 0
    save: bool = False
    batch_size: int = 1

    def run(self, points: Sequence[Any], fixed: Any) -> Iterator[Any]:
        """Yields the outcome of each point; of a row that chooses, of grid and chosen point.

        Args:
          points: the settings to sample with.
          fixed: the settings of a row that chooses, if its metric cannot be measured.

        Raises:
          UnfinishedError: if a point is to be chosen and other processes have not measured their
            parts of the grid.
        """
        from deblur_tf.evaluation import grid

        if len(points) > 1:
            print(grid_cost(self.deblurrer.model, points, self.pairs, self.limit), flush=True)
        choice: dict[str, Any] = {}
        if self.protocol.choose and len(points) > 1:
            by = self.protocol.choose
            if only := self.metrics.only(by):
                folder, count = self.output / "grid", len(points)
                yield from self._grid(points, folder, only)
                best = grid.chosen(folder, points, self.protocol.choose_kind, by)
                points, choice = [best], {"choice": f"best {by} of {count} points of the grid"}
            else:
                points, choice = [fixed], {"choice": f"fixed: {by} cannot be measured"}
            print(f"chosen: {self._words(points[0])}", flush=True)
        if len(points) > 1:
            yield from self._grid(points, self.output, self.metrics, all_needed=False)
        elif outcome := self._at(points[0], self.output, self.metrics, choice).outcome:
            yield outcome

    def _grid(
        self,
        points: Sequence[Any],
        folder: pathlib.Path,
        metrics: ChosenMetrics,
        all_needed: bool = True,
    ) -> Iterator[Any]:
        """Yields the outcome of each point; then writes their table and plot."""
        from deblur_tf.evaluation import grid

        unfinished = 0
        seconds = evaluations = 0.0
        for i, point in enumerate(points):
            start = time.monotonic()
            measured = self._at(point, folder / grid.folder_name(point), metrics, {})
            unfinished += not measured.whole
            if measured.outcome:
                seconds += time.monotonic() - start
                evaluations += point.evaluations
                left = sum(p.evaluations for p in points[i + 1 :]) * seconds / evaluations
                if left:
                    print(f"{len(points) - i - 1} points left, about {in_words(left)}", flush=True)
                yield measured.outcome
        if not unfinished:
            print(grid.summarise(folder, points), flush=True)
        elif all_needed:
            raise UnfinishedError(
                f"{folder}: other parts of {unfinished} points are not measured yet; give the same "
                "command again when they are, to choose a point and measure it"
            )

    def _at(
        self, point: Any, folder: pathlib.Path, metrics: ChosenMetrics, notes: dict[str, Any]
    ) -> Measured:
        from deblur_tf.evaluation import subjects

        sampling = dataclasses.asdict(point)
        size = f"central {self.crop}x{self.crop} pixels" if self.crop else "whole images"
        settings = {
            "weights": self.deblurrer.fingerprint(),
            "precision": self.deblurrer.precision,
            "protocol": self.protocol.name,
            "row": self.row,
            "pairs": self.pairs.digest or self.pairs.title,
            "size": size,
            "limit": self.limit,
            "seed": self.seed,
            "noise": "by seed and name",
            "sampling": sampling,
            "metrics": metrics.settings,
        }
        subject = subjects.Restored(
            self.deblurrer, seed=self.seed, batch_size=self.batch_size, **sampling
        )
        measured = measure(
            *(folder, settings, {"model": self.deblurrer.origin, **notes}, metrics),
            *(self.part, self.limit, self.save),
            subject=subject,
            pairs=self.pairs,
            size=size,
            once=metrics.once,
        )
        if measured.outcome:
            print(f"{self._words(point)}\n{measured.outcome.table}", flush=True)
        return measured

    def _words(self, point: Any) -> str:
        return point.describe(self.deblurrer.model.schedule_kind)
