"""Parts of a report: tables of rows of cells, figures, and measurements."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A model of a gin file, measured by a protocol.

    Attributes:
      gin_file: gin file of the row.
      protocol: protocol in place of the gin file's own; "" for the gin file's own.
      run_of: gin file that the model is trained with; "" for `gin_file`. Rows that differ
        only in test set and sampling share a model.
      made_by: command that makes the model, with the places {gin_file} and {run}.
    """

    gin_file: str
    protocol: str = ""
    run_of: str = ""
    made_by: str = "deblur-train --gin_file={gin_file} --data_dir=data --run_dir={run}"

    @property
    def results(self) -> str:
        """Folder of the report, relative to the folder of all results."""
        stem = self.gin_file.removesuffix(".gin")
        return f"{stem}@{self.protocol}" if self.protocol else stem

    @property
    def run(self) -> str:
        """Folder of the trained model, relative to the folder of all runs."""
        return (self.run_of or self.gin_file).removesuffix(".gin")

    def train_command(self, runs: str) -> str:
        """Command that makes the model."""
        return self.made_by.format(gin_file=f"{self.run}.gin", run=f"{runs}/{self.run}")

    def evaluate_command(self, runs: str, results: str) -> str:
        """Command that measures the model."""
        protocol = f" --protocol={self.protocol}" if self.protocol else ""
        return (
            f"deblur-evaluate model --gin_file={self.gin_file}{protocol} --data_dir=data "
            f"-m {runs}/{self.run} "
            f"-o {results}/{self.results}"
        )


@dataclasses.dataclass(frozen=True)
class Cell:
    """One printed value and where ours comes from.

    Attributes:
      column: column of the paper's table.
      paper: value that the paper prints; None where it prints none.
      measurement: measurement that gives our value; None where there is none, see `why`.
      metric: name of the metric in the report.
      best: "higher" or "lower": take the best value of that kind in the row's grid; "": none.
      kind: kind of picture; "" for the mean of samples if there is one, else the sample.
      ours: our value, if it needs no measurement.
      why: reason why there is no measurement.
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
    """A figure of a paper and the file of our version of it.

    Attributes:
      id: such as "icdpm/fig5".
      caption: what it shows.
      file: path of our version, relative to the folder of results.
      command: command that makes it.
      measurements: measurements of the rows that it shows.
    """

    id: str
    caption: str
    file: str
    command: str
    measurements: tuple[Measurement, ...] = ()
