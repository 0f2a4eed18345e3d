"""Our figures for the papers' cells, from the reports of deblur-evaluate."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import pathlib
from typing import Any

from deblur_tf.reproduction import plan
from deblur_tf.reproduction.contents import Cell, Measurement, Row


@dataclasses.dataclass(frozen=True)
class Found:
    """What was found for a cell: a value, or why there is none."""

    value: float | None = None
    why: str = ""


class Results:
    """Reads reports below a folder.

    Args:
      folder: of results.
      runs: of trained models, for the commands that messages name.
    """

    def __init__(self, folder: pathlib.Path, runs: str):
        self.folder = folder
        self.runs = runs
        self._reports: dict[str, dict[str, Any]] = {}

    def report(self, results: str) -> dict[str, Any] | None:
        """The report in a folder of results, or None."""
        path = self.folder / results / "report.json"
        if results not in self._reports and path.is_file():
            self._reports[results] = json.loads(path.read_text(encoding="utf-8"))
        return self._reports.get(results)

    def of(self, row: Row, cell: Cell) -> Found:
        """The figure for a cell."""
        if cell.ours is not None:
            return Found(cell.ours)
        if cell.measurement is None:
            return Found(why=cell.why)
        if cell.metric.startswith("spaces.csv:"):
            return self._of_spaces(cell.metric)
        if cell.metric.startswith("mean of"):
            return self._mean(row, cell.column)
        if cell.best:
            return self._best(cell, cell.measurement)
        return self._of_report(cell.measurement, cell.metric, cell.kind)

    def _of_report(self, made: Measurement, metric: str, kind: str = "") -> Found:
        report = self.report(made.results)
        if report is None:
            return Found(why=self.missing(made))
        means = report["means"]
        kind = kind or ("mean" if "mean" in means else "sample")
        if metric not in means[kind]:
            return Found(why=f"{metric} was not measured; its weights may be missing")
        value = float(means[kind][metric])
        return Found(why=f"no picture has {metric}") if math.isnan(value) else Found(value)

    def _best(self, cell: Cell, made: Measurement) -> Found:
        path = self.folder / made.results / "grid.csv"
        if not path.is_file():
            return Found(why=self.missing(made))
        with open(path, newline="", encoding="utf-8") as file:
            values = [float(r[cell.metric]) for r in csv.DictReader(file) if r.get(cell.metric)]
        values = [v for v in values if math.isfinite(v)]
        if not values:
            return Found(why=f"{cell.metric} was not measured; its weights may be missing")
        return Found(max(values) if cell.best == "higher" else min(values))

    def _of_spaces(self, name: str) -> Found:
        _, space, scale, column = name.split(":")
        path = self.folder / "analyses" / "spaces" / "spaces.csv"
        if not path.is_file():
            return Found(
                why="not run: deblur-analyze spaces --first=GOPRO --second=REALBLUR "
                f"-m {self.runs}/papers/icdpm/table4/ours -o {self.folder}/analyses/spaces"
            )
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if (row["name"], row["scale"]) == (space, scale):
                    return Found(float(row[column]))
        return Found(why=f"{path} has no row for it")

    def _mean(self, row: Row, column: str) -> Found:
        parts = []
        for made, metrics in plan.mean_parts("ours_sa" if row.name == "Ours-SA" else "ours"):
            found = self._of_report(made, metrics[column])
            if found.value is None:
                return found
            parts.append(found.value)
        return Found(math.fsum(parts) / len(parts))

    def missing(self, made: Measurement) -> str:
        """How to get a report that is not there."""
        commands = made.evaluate_command(self.runs, str(self.folder))
        if not (pathlib.Path(self.runs) / made.run / "model.json").is_file():
            commands = f"{made.train_command(self.runs)} && {commands}"
        return f"not run: {commands}"
