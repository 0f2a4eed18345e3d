"""Our values for the cells of the papers' tables, from the reports of deblur-evaluate."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import pathlib
from typing import Any

from deblur_tf.reproduction import belonging, plan
from deblur_tf.reproduction.contents import Cell, Measurement, Row


@dataclasses.dataclass(frozen=True)
class CellValue:
    """What was found for a cell: a value, or why there is none.

    Attributes:
      value: the value.
      why: the reason why there is none.
      note: how the value was measured, where that differs between rows.
      comparable: whether the difference from the paper's value means anything.
    """

    value: float | None = None
    why: str = ""
    note: str = ""
    comparable: bool = True


class Results:
    """Reads reports below a folder.

    Args:
      folder: folder of results.
      runs: folder of trained models, for the commands in messages.
      smoke: whether they are those of a smoke run.
    """

    def __init__(self, folder: pathlib.Path, runs: str, smoke: bool = False):
        self.folder = folder
        self.runs = runs
        self.smoke = smoke
        self._reports: dict[str, dict[str, Any]] = {}

    def report(self, results: str) -> dict[str, Any] | None:
        """The report in a folder of results, or None."""
        path = self.folder / results / "report.json"
        if results not in self._reports and path.is_file():
            self._reports[results] = json.loads(path.read_text(encoding="utf-8"))
        return self._reports.get(results)

    def of(self, row: Row, cell: Cell) -> CellValue:
        """Our value for a cell, or why there is none."""
        if cell.ours is not None:
            return CellValue(cell.ours)
        if cell.measurement is None:
            return CellValue(why=cell.why)
        if cell.metric.startswith("spaces.csv:"):
            return self._of_spaces(cell.metric)
        if cell.metric.startswith("mean of"):
            return self._mean(row, cell.column)
        if cell.best:
            return self._best(cell, cell.measurement)
        return self._of_report(cell.measurement, cell.metric, cell.kind)

    def _of_report(self, made: Measurement, metric: str, kind: str = "") -> CellValue:
        report = self.report(made.results)
        if report is None:
            return CellValue(why=self.missing(made))
        if reason := belonging.refusal(report, made, self.smoke):
            return CellValue(why=f"{made.results}: the report there is refused: {reason}")
        means = report["means"]
        kind = kind or ("mean" if "mean" in means else "sample")
        if metric not in means[kind]:
            return CellValue(why=f"{metric} was not measured; its weights may be missing")
        value = float(means[kind][metric])
        if math.isnan(value):
            return CellValue(why=f"no picture has {metric}")
        own = metric == "niqe" and belonging.own_statistics(report)
        return CellValue(value, note=belonging.notes(report, metric), comparable=not own)

    def _best(self, cell: Cell, made: Measurement) -> CellValue:
        path = self.folder / made.results / "grid.csv"
        if not path.is_file():
            return CellValue(why=self.missing(made))
        for point in sorted(path.parent.glob("*/report.json")):
            report = json.loads(point.read_text(encoding="utf-8"))
            if reason := belonging.refusal(report, made, self.smoke):
                return CellValue(why=f"{point.parent}: the report there is refused: {reason}")
        with open(path, newline="", encoding="utf-8") as file:
            rows = [r for r in csv.DictReader(file) if r["kind"] == "sample"]
        values = [float(r[cell.metric]) for r in rows if r.get(cell.metric)]
        values = [v for v in values if math.isfinite(v)]
        if not values:
            return CellValue(why=f"{cell.metric} was not measured; its weights may be missing")
        return CellValue(max(values) if cell.best == "higher" else min(values))

    def _of_spaces(self, name: str) -> CellValue:
        _, space, scale, column = name.split(":")
        path = self.folder / "analyses" / "spaces" / "spaces.csv"
        if not path.is_file():
            return CellValue(
                why="not run: deblur-analyze spaces --first=GOPRO --second=REALBLUR "
                f"-m {self.runs}/papers/icdpm/table4/ours -o {self.folder}/analyses/spaces"
            )
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if (row["name"], row["scale"]) == (space, scale):
                    return CellValue(float(row[column]))
        return CellValue(why=f"{path} has no row for it")

    def _mean(self, row: Row, column: str) -> CellValue:
        parts = []
        for made, metrics in plan.mean_parts("ours_sa" if row.name == "Ours-SA" else "ours"):
            found = self._of_report(made, metrics[column])
            if found.value is None:
                return found
            parts.append(found.value)
        return CellValue(math.fsum(parts) / len(parts))

    def missing(self, made: Measurement) -> str:
        """Message with the commands that make a missing report."""
        commands = made.evaluate_command(self.runs, str(self.folder))
        if not (pathlib.Path(self.runs) / made.run / "model.json").is_file():
            commands = f"{made.train_command(self.runs)} && {commands}"
        return f"not run: {commands}"
