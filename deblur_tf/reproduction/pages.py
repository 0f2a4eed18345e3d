"""One report of all tables and figures: Markdown, and one HTML file with its pictures."""

from __future__ import annotations

import base64
import html
import pathlib
from collections.abc import Callable, Sequence

from deblur_tf.reproduction import plan
from deblur_tf.reproduction.collect import CellValue, Results
from deblur_tf.reproduction.contents import Figure, Table

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; }
body { margin: 2em auto; max-width: 1200px; padding: 0 1em; }
table { border-collapse: collapse; margin: .5em 0; font-size: 13px; }
th, td { border: 1px solid #ccc; padding: 3px 8px; text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
th { background: #f2f2f2; }
td.none { color: #999; }
.ours { font-weight: 600; }
.difference { color: #666; }
details { margin: .3em 0 1.5em; font-size: 13px; }
code { background: #f6f6f6; padding: 1px 3px; overflow-wrap: anywhere; }
img { max-width: 100%; border: 1px solid #ddd; }
"""


def decimals(table: Table, column: int) -> int:
    """Digits after the point that the paper prints in a column, at most."""
    printed = [row.cells[column].paper for row in table.rows]
    found = [str(value).partition(".")[2] for value in printed if isinstance(value, float)]
    # Where the paper prints nothing, as many as other tables do.
    unprinted = 2 if all(value is None for value in printed) else 0
    return max(map(len, found), default=unprinted)


class Page:
    """The report.

    Args:
      tables: the tables to show.
      results: our values.
      note: text at the top.
    """

    def __init__(self, tables: Sequence[Table], results: Results, note: str = ""):
        self.tables = tables
        self.results = results
        self.note = note

    def cells(self, table: Table) -> list[tuple[str, list[tuple[str, str, str]]]]:
        """For each row its name, and (paper, ours, difference) for each cell."""
        digits = [decimals(table, i) for i in range(len(table.columns))]
        rows = []
        for row in table.rows:
            shown = []
            for cell, places in zip(row.cells, digits, strict=True):
                found = self.results.of(row, cell)
                ours, difference = found.value, ""
                if found.comparable and ours is not None and isinstance(cell.paper, (int, float)):
                    difference = f"{ours - cell.paper:+.{places}f}"
                paper = "" if cell.paper is None else str(cell.paper)
                shown.append((paper, "" if ours is None else f"{ours:.{places}f}", difference))
            rows.append((row.name, shown))
        return rows

    def reasons(self, table: Table) -> dict[str, list[str]]:
        """Reasons for missing values, each with the rows that lack them."""
        return self._rows_by_text(table, lambda value: value.why)

    def notes(self, table: Table) -> dict[str, list[str]]:
        """How values were measured, each with the rows of which it is said."""
        return self._rows_by_text(table, lambda value: value.note)

    def _rows_by_text(
        self, table: Table, text_of: Callable[[CellValue], str]
    ) -> dict[str, list[str]]:
        """Each text that is said of a cell, with the names of the rows it is said of."""
        found: dict[str, list[str]] = {}
        for row in table.rows:
            for text in dict.fromkeys(text_of(self.results.of(row, cell)) for cell in row.cells):
                if text:
                    found.setdefault(text, []).append(row.name)
        return found

    def counts(self) -> tuple[int, int]:
        """Number of printed values that have one of ours beside them, and of all printed ones."""
        every = [c for table in self.tables for _, cells in self.cells(table) for c in cells]
        printed = [ours for paper, ours, _ in every if paper]
        return sum(map(bool, printed)), len(printed)

    def gin_files(self, table: Table) -> list[str]:
        """Gin files of the rows of a table."""
        made = [c.measurement for row in table.rows for c in row.cells if c.measurement]
        return list(dict.fromkeys(m.gin_file for m in made))

    def sheet(self, table: Table) -> pathlib.Path | None:
        """Path of the contact sheet of the first row of a table that was measured."""
        for row in table.rows:
            for cell in row.cells:
                if cell.measurement:
                    path = self.results.folder / cell.measurement.results / "sheet.png"
                    if path.is_file():
                        return path
        return None

    def markdown(self) -> str:
        """The report in Markdown; each cell is "paper / ours (difference)"."""
        lines = ["# The papers' tables", "", self.note, ""]
        for table in self.tables:
            lines += [f"## {table.id}: {table.caption}", ""]
            lines.append("| | " + " | ".join(table.columns) + " |")
            lines.append("|---" * (len(table.columns) + 1) + "|")
            for name, cells in self.cells(table):
                texts = [
                    f"{paper} / {ours} ({difference})"
                    if difference
                    else " / ".join(text for text in (paper, ours) if text)
                    for paper, ours, difference in cells
                ]
                lines.append(f"| {name} | " + " | ".join(texts) + " |")
            if files := self.gin_files(table):
                lines += ["", f"Gin files: {', '.join(f'`{name}`' for name in files)}."]
            noted = self.notes(table).items()
            lines += ["", *(f"- {', '.join(names)}: {note}" for note, names in noted)]
            whys = self.reasons(table).items()
            lines += ["", *(f"- {', '.join(names)}: {why}" for why, names in whys), ""]
        lines += ["# Figures", ""] if plan.figures(self.tables) else []
        for figure in plan.figures(self.tables):
            state = "made" if self.path(figure).is_file() else f"not run: `{self.command(figure)}`"
            lines.append(f"- {figure.id}: {figure.caption}: {state}")
        return "\n".join(lines) + "\n"

    def path(self, figure: Figure) -> pathlib.Path:
        """Path of a figure's file."""
        return self.results.folder / figure.file

    def command(self, figure: Figure) -> str:
        """Command that makes a figure."""
        return figure.command.format(runs=self.results.runs, results=self.results.folder)

    def html(self) -> str:
        """The report with its pictures as one HTML file."""
        made, printed = self.counts()
        parts = [
            "<!doctype html><html lang=en><meta charset=utf-8><title>The papers' tables</title>",
            f"<style>{STYLE}</style><h1>The papers' tables</h1>",
            f"<p>{html.escape(self.note)}</p><p>{made} of {printed} printed figures have one of "
            "ours beside them. Each cell: the paper's, <span class=ours>ours</span>, "
            "<span class=difference>the difference</span>.</p>",
        ]
        for table in self.tables:
            parts.append(f"<h2>{html.escape(f'{table.id}: {table.caption}')}</h2><table><tr><th>")
            parts += [f"<th>{html.escape(column)}" for column in table.columns]
            for name, cells in self.cells(table):
                parts.append(f"<tr><td>{html.escape(name)}")
                for paper, ours, difference in cells:
                    style = "" if paper or ours else " class=none"
                    parts.append(
                        f"<td{style}>{html.escape(paper)} <span class=ours>{html.escape(ours)}"
                        f"</span> <span class=difference>{html.escape(difference)}</span>"
                    )
            parts.append("</table>")
            if files := self.gin_files(table):
                names = ", ".join(f"<code>{html.escape(name)}</code>" for name in files)
                parts.append(f"<p>Gin files: {names}</p>")
            for note, names in self.notes(table).items():
                parts.append(f"<p>{html.escape(', '.join(names))}: {html.escape(note)}</p>")
            if sheet := self.sheet(table):
                parts.append(f"<p><code>{html.escape(str(sheet))}</code></p>{_image(sheet)}")
            if reasons := self.reasons(table):
                parts.append("<details><summary>What was not run, and why</summary><ul>")
                parts += [
                    f"<li>{html.escape(', '.join(names))}: <code>{html.escape(why)}</code>"
                    for why, names in reasons.items()
                ]
                parts.append("</ul></details>")
        parts.append("<h1>Figures</h1>" if plan.figures(self.tables) else "")
        for figure in plan.figures(self.tables):
            parts.append(f"<h3>{html.escape(f'{figure.id}: {figure.caption}')}</h3>")
            if self.path(figure).is_file():
                parts.append(_image(self.path(figure)))
            else:
                parts.append(f"<p>Not run: <code>{html.escape(self.command(figure))}</code></p>")
        return "\n".join(parts) + "\n</html>\n"


def _image(path: pathlib.Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{html.escape(path.stem)}" src="data:image/png;base64,{data}">'
