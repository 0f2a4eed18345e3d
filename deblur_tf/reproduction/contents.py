"""What a report is made of: tables of rows of cells, figures, and what is measured."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A model of a gin file, measured by a protocol.

    Attributes:
      gin_file: of the row.
      protocol: in place of the file's own; "" for that.
      run_of: the gin file that the model is trained by; "" for its own. Rows that differ
        in test set and sampling alone share a model.
    """

    gin_file: str
    protocol: str = ""
    run_of: str = ""

    @property
    def results(self) -> str:
        """Folder of the report, below that of all results."""
        stem = self.gin_file.removesuffix(".gin")
        return f"{stem}@{self.protocol}" if self.protocol else stem

    @property
    def run(self) -> str:
        """Folder of the trained model, below that of all runs."""
        return (self.run_of or self.gin_file).removesuffix(".gin")

    def train_command(self, runs: str) -> str:
        """Trains the model."""
        return f"deblur-train --gin_file={self.run}.gin --run_dir={runs}/{self.run}"

    def evaluate_command(self, runs: str, results: str) -> str:
        """Measures it."""
        protocol = f" --protocol={self.protocol}" if self.protocol else ""
        return (
            f"deblur-evaluate model --gin_file={self.gin_file}{protocol} -m {runs}/{self.run} "
            f"-o {results}/{self.results}"
        )


@dataclasses.dataclass(frozen=True)
class Cell:
    """One printed figure and where ours is from.

    Attributes:
      column: of the paper's table.
      paper: its figure; None where it prints none.
      measurement: that gives ours; None where there is none, see `why`.
      metric: of the report.
      best: "higher" or "lower": the best point of the row's grid.
      kind: of picture; "" for the mean of samples, or the sample where there is one.
      ours: a figure that needs no measurement.
      why: it is not measured.
    """

    column: str
    paper: Any
    measurement: Measurement | None = None
    metric: str = ""
    best: str = ""
    kind: str = ""
    ours: float | None = None
    why: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table."""

    name: str
    cells: tuple[Cell, ...]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of a paper: id such as "icdpm/4", caption, rows."""

    id: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure of a paper and the file that stands beside it.

    Attributes:
      id: such as "icdpm/fig5".
      caption: what it shows.
      file: below the folder of results.
      command: that makes it.
      measurement: the row that it is of, if it is of one.
    """

    id: str
    caption: str
    file: str
    command: str
    measurement: Measurement | None = None
