"""What an evaluation leaves behind: figures as they come, a table, a sheet of pictures.

A folder holds `settings.json` (all that the figures depend on), `figures.csv` (one line
for each picture and kind), `table.md`, `sheet.png`, and `failed.txt` where pairs could
not be measured.
"""

from __future__ import annotations

import csv
import io
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import IO

import numpy as np

from deblur_tf.evaluation.sheets import fitted, picture_sheet
from deblur_tf.files import replacing, write_text
from deblur_tf.metrics.base import Metric

Figures = dict[str, dict[str, float]]  # kind -> metric -> value

SETTINGS_FILE, FIGURES_FILE = "settings.json", "figures.csv"
TABLE_FILE, SHEET_FILE, FAILED_FILE = "table.md", "sheet.png", "failed.txt"


class Report:
    """Writes into a folder; figures of an interrupted evaluation are found again.

    Args:
      folder: made if missing.
      settings: plain values; figures made with other ones are dropped.
      metrics: columns.
      sheet_rows: pictures on the sheet.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        settings: Mapping[str, object],
        metrics: Sequence[Metric],
        sheet_rows: int = 8,
    ):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.metrics = tuple(metrics)
        self.sheet_rows = sheet_rows
        self._rows: list[list[object]] = []
        self._titles: list[str] = []
        self._kept: set[str] = set()
        text = json.dumps(settings, indent=1, sort_keys=True) + "\n"
        same = _read(self.folder / SETTINGS_FILE) == text
        failed = (self.folder / FAILED_FILE).exists()
        self.done = same and (self.folder / TABLE_FILE).exists() and not failed
        self.found = self._found() if same else {}
        if not same:
            for name in (TABLE_FILE, SHEET_FILE, FIGURES_FILE, FAILED_FILE):
                (self.folder / name).unlink(missing_ok=True)
            write_text(self.folder / SETTINGS_FILE, text)

    def _found(self) -> dict[str, Figures]:
        """Complete figures of pictures by name."""
        names = [metric.name for metric in self.metrics]
        found: dict[str, Figures] = {}
        if (self.folder / FIGURES_FILE).exists():
            with open(self.folder / FIGURES_FILE, newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    if all(row.get(name) for name in names):  # not cut short by a kill
                        kinds = found.setdefault(row["image"], {})
                        kinds[row["kind"]] = {name: float(row[name]) for name in names}
        return found

    def start(self, kept: Mapping[str, Figures]) -> None:
        """Begins `figures.csv` with what is kept of an earlier evaluation, by picture."""
        lines = io.StringIO()
        csv.writer(lines).writerow(["image", "kind", *(m.name for m in self.metrics)])
        for name, figures in kept.items():
            self._write(lines, name, figures)
        write_text(self.folder / FIGURES_FILE, lines.getvalue())
        self._kept = set(kept)

    def _write(self, file: IO[str], name: str, figures: Figures) -> None:
        for kind, row in figures.items():
            values = (row.get(m.name) for m in self.metrics)
            cells = ("" if v is None else f"{v:.6f}" for v in values)
            csv.writer(file).writerow([name, kind, *cells])

    def add(self, name: str, figures: Figures, pictures: Mapping[str, np.ndarray]) -> None:
        """A picture's figures and, for the sheet, pictures uint8 [H, W, 3] by title."""
        if name not in self._kept:
            with open(self.folder / FIGURES_FILE, "a", newline="", encoding="utf-8") as file:
                self._write(file, name, figures)
        if len(self._rows) < self.sheet_rows:
            self._titles = list(pictures)
            self._rows.append([fitted(pixels, 256) for pixels in pictures.values()])

    def finish(self, table: str, failed: Sequence[str]) -> None:
        """Writes sheet, table, and messages of what could not be measured."""
        if failed:
            write_text(self.folder / FAILED_FILE, "\n".join(failed) + "\n")
        else:
            (self.folder / FAILED_FILE).unlink(missing_ok=True)
        if self._rows:
            with replacing(self.folder / SHEET_FILE) as file:
                picture_sheet(self._rows, self._titles).save(file, "png")
        write_text(self.folder / TABLE_FILE, table + "\n")


def table(title: str, means: Figures, labels: Mapping[str, str], metrics: Sequence[Metric]) -> str:
    """A Markdown table.

    Args:
      title: of the first column: what was measured, and at which size.
      means: figures of the whole set.
      labels: of the kinds to show, a row each.
      metrics: a column each.
    """
    lines = [
        "| " + " | ".join([title, *(metric.label for metric in metrics)]) + " |",
        "|---" * (1 + len(metrics)) + "|",
    ]
    for kind, label in labels.items():
        values = (f"{means[kind][metric.name]:.{metric.digits}f}" for metric in metrics)
        lines.append("| " + " | ".join([label, *values]) + " |")
    return "\n".join(lines)


def _read(path: pathlib.Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None
