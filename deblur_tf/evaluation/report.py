"""The files that an evaluation writes: figures as they are measured, a table, a contact sheet.

A folder holds `settings.json` (all that the figures depend on), `figures.csv` (a line for
each picture and kind), `features/` for metrics of sets, with `save` the pictures, and at
the end `report.json`, `table.md`, `sheet.png`, and `failed.txt` where pairs could not be
measured.
"""

from __future__ import annotations

import csv
import glob
import io
import json
import math
import os
import pathlib
import re
import shutil
import zlib
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np
from PIL import Image

from deblur_tf.base.errors import UsageError
from deblur_tf.base.files import replacing, write_text
from deblur_tf.evaluation.sheets import picture_sheet, stacked, titled
from deblur_tf.metrics.base import Metric, PerImage

Figures = dict[str, dict[str, float]]  # kind -> metric -> value

SETTINGS_FILE, FIGURES_FILE, REPORT_FILE = "settings.json", "figures.csv", "report.json"
TABLE_FILE, SHEET_FILE, FAILED_FILE = "table.md", "sheet.png", "failed.txt"
FEATURES, PICTURES, ROWS = "features", "pictures", "rows"
SECONDS = "seconds"
FILES = (TABLE_FILE, SHEET_FILE, REPORT_FILE, FIGURES_FILE, FAILED_FILE)
FOLDERS = (FEATURES, PICTURES, ROWS)


class Report:
    """Writes the results of an evaluation into a folder, and resumes an interrupted one.

    Args:
      folder: folder of the results, made if missing.
      settings: JSON-compatible values that determine the figures; figures made with other
        settings are discarded.
      metrics: the metrics that are measured.
      sheet_rows: number of pictures on the sheet.
      save: whether to keep the pictures, as PNG.
      notes: further values for `report.json` that no figure depends on, such as a path.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        settings: Mapping[str, Any],
        metrics: Sequence[Metric],
        sheet_rows: int = 8,
        save: bool = False,
        notes: Mapping[str, Any] | None = None,
    ):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.settings = dict(settings)
        self.metrics = tuple(metrics)
        self.sheet_rows = sheet_rows
        self.save = save
        self.notes = dict(notes or {})
        self._columns = [m.name for m in metrics if isinstance(m, PerImage)]
        self._text = json.dumps(self.settings, indent=1, sort_keys=True) + "\n"
        before = _read(self.folder / SETTINGS_FILE)
        if before is None:
            self._refuse_foreign_files()
        self._same = before == self._text
        self.found = read_figures(self.folder) if self._same else {}
        done = (self.folder / REPORT_FILE).exists() and not (self.folder / FAILED_FILE).exists()
        self.done = self._same and done and all(map(self._is_kept, self.found))

    def _refuse_foreign_files(self) -> None:
        """Refuses a folder whose files would be replaced but are not from an evaluation."""
        for name in (*FILES, *FOLDERS):
            if (self.folder / name).exists():
                raise UsageError(
                    f"{self.folder}: has {name}, and no {SETTINGS_FILE} of an evaluation; choose "
                    "another output folder"
                )

    def start(self, kinds: Sequence[str]) -> dict[str, Figures]:
        """Starts `figures.csv` with the complete figures of an earlier run; returns them.

        Results made with other settings are deleted.
        """
        if not self._same:
            for name in FILES:
                (self.folder / name).unlink(missing_ok=True)
            for name in FOLDERS:
                shutil.rmtree(self.folder / name, ignore_errors=True)
            write_text(self.folder / SETTINGS_FILE, self._text)
            self._same = True
        for name in (TABLE_FILE, REPORT_FILE):  # which mark an evaluation as finished
            (self.folder / name).unlink(missing_ok=True)
        kept = {n: f for n, f in self.found.items() if set(f) == set(kinds) and self._is_kept(n)}
        lines = io.StringIO()
        csv.writer(lines).writerow(["image", "kind", *self._columns, SECONDS])
        for name, figures in kept.items():
            self._write(lines, name, figures)
        write_text(self.folder / FIGURES_FILE, lines.getvalue())
        return kept

    def _is_kept(self, name: str) -> bool:
        pattern = f"*/{glob.escape(file_name(name))}.png"
        return not self.save or any((self.folder / PICTURES).glob(pattern))

    def _write(self, file: IO[str], name: str, figures: Figures) -> None:
        for kind, row in figures.items():
            cells = ("" if m not in row else repr(float(row[m])) for m in (*self._columns, SECONDS))
            csv.writer(file).writerow([name, kind, *cells])

    def add(
        self,
        index: int,
        name: str,
        figures: Figures,
        pictures: Mapping[str, np.ndarray],
        columns: Mapping[str, str],
    ) -> None:
        """Stores the figures of a measured picture.

        Args:
          index: index of the picture in the evaluation.
          name: name of the picture.
          figures: figures of each kind, with `SECONDS`.
          pictures: uint8 [H, W, 3] for each kind and "sharp".
          columns: column titles of the sheet by kind.
        """
        if self.save:
            for kind, pixels in pictures.items():
                if kind != "smoothed":
                    path = self.folder / PICTURES / kind / f"{file_name(name)}.png"
                    with replacing(path) as file:
                        Image.fromarray(pixels).save(file, "png", compress_level=1)
        if index < self.sheet_rows:
            chosen = [pictures[kind] for kind in (*columns, "sharp") if kind in pictures]
            with replacing(self.folder / ROWS / f"{index:03d}.png") as file:
                picture_sheet([chosen]).save(file, "png")
        with open(self.folder / FIGURES_FILE, "a", newline="", encoding="utf-8") as file:
            self._write(file, name, figures)

    def finish(
        self,
        table: str,
        about: Mapping[str, Any],
        columns: Mapping[str, str],
        failed: Sequence[str],
    ) -> None:
        """Writes report, sheet, table, and the messages of pairs that could not be measured."""
        if failed:
            write_text(self.folder / FAILED_FILE, "\n".join(failed) + "\n")
        else:
            (self.folder / FAILED_FILE).unlink(missing_ok=True)
        rows = [Image.open(path) for path in sorted((self.folder / ROWS).glob("*.png"))]
        if rows:
            with replacing(self.folder / SHEET_FILE) as file:
                titles = [*columns.values(), *(["sharp"] if "sharp" in about["kinds"] else [])]
                titled(stacked(rows, len(titles)), titles).save(file, "png")
        text = json.dumps(
            plain({"settings": self.settings, **self.notes, **about}), indent=1, allow_nan=False
        )
        write_text(self.folder / TABLE_FILE, table + "\n")
        write_text(self.folder / REPORT_FILE, text + "\n")  # last: it marks completion


def read_figures(folder: pathlib.Path) -> dict[str, Figures]:
    """Figures of pictures by name, in the order in which they were measured."""
    found: dict[str, Figures] = {}
    if (folder / FIGURES_FILE).exists():
        with open(folder / FIGURES_FILE, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row.get(SECONDS):  # the last column is there: the row is complete
                    kinds = found.setdefault(row["image"], {})
                    kinds[row["kind"]] = {
                        name: float(value)
                        for name, value in row.items()
                        if value and name not in ("image", "kind")
                    }
    return found


def file_name(name: str) -> str:
    """A picture's name as a file name: characters that file names cannot have become "-".

    Of a name that is too long, the end is kept and a checksum appended.
    """
    safe = re.sub(r'[/\\:*?"<>|\x00-\x1f]', "-", name).strip("-")
    if len(safe.encode()) > 200:
        safe = f"{safe[-100:]}-{zlib.crc32(name.encode()):08x}"
    return safe


def plain(value: Any) -> Any:
    """The value in a form that JSON can hold: infinity and NaN become text."""
    if isinstance(value, Mapping):
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def table(title: str, means: Figures, labels: Mapping[str, str], metrics: Sequence[Metric]) -> str:
    """A Markdown table.

    Args:
      title: heading of the first column: what was measured, and at which size.
      means: figures of the whole set.
      labels: labels of the kinds to show, one row each.
      metrics: the metrics to show, one column each.
    """
    lines = [
        "| " + " | ".join([title, *(metric.label for metric in metrics)]) + " |",
        "|---" * (1 + len(metrics)) + "|",
    ]
    for kind, label in labels.items():
        values = (
            f"{means[kind][m.name]:.{m.digits}f}" if m.name in means[kind] else "" for m in metrics
        )
        lines.append("| " + " | ".join([label, *values]) + " |")
    return "\n".join(lines)


def _read(path: pathlib.Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None
