r"""One report of the papers' tables and figures beside what was measured here.

  deblur-reproduce --runs=runs --results=results -o report/
  deblur-reproduce --table=icdpm/4 -o report/
  deblur-reproduce --smoke -o report/

Reads the reports of deblur-evaluate below --results, where the commands that the report
names write them. Each cell has the paper's value, ours and the difference; a row that was not
run says which commands run it. Writes report.md, and report.html with the pictures.

--smoke makes a data set of generated pictures and runs everything on it at a tiny size:
trains each row for one step, samples, computes the metrics that need no weights, and fills
every table. It takes some minutes and shows that the chain runs.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from absl import flags

from deblur_tf.bin import common

_TABLE = flags.DEFINE_multi_string(
    "table", [], "Only this table, e.g. icdpm/4 or dvsr/1. Repeatable."
)
_RUNS = flags.DEFINE_string("runs", "runs", "Folder of trained models.")
_RESULTS = flags.DEFINE_string("results", "results", "Folder of reports.")
_SIZES = flags.DEFINE_bool(
    "sizes", True, "Count parameters and operations of the papers' networks, in half a minute."
)
_SMOKE = flags.DEFINE_bool("smoke", False, "Run everything at a tiny size first.")
_OUTPUT = flags.DEFINE_string("output", None, "Output folder, made if missing.", short_name="o")


def main(argv: Sequence[str]) -> int:
    del argv
    if not _OUTPUT.value:
        raise common.UsageError("-o/--output is missing")
    if _SMOKE.value and (flags.FLAGS["runs"].present or flags.FLAGS["results"].present):
        raise common.UsageError("--smoke makes its own runs and results")
    common.make_folder(_OUTPUT.value, alone=True)
    output = pathlib.Path(_OUTPUT.value)

    from deblur_tf.base.files import write_text
    from deblur_tf.base.progress import bar
    from deblur_tf.reproduction import plan

    papers = plan.paper_tables()
    known = [table.id for table in plan.tables(papers, {})]
    for name in _TABLE.value:
        if name not in known:
            raise common.UsageError(f"no table {name!r}; there are {', '.join(known)}")

    from deblur_tf.models.architectures import ARCHITECTURES, sizes
    from deblur_tf.reproduction.collect import Results
    from deblur_tf.reproduction.pages import Page

    counted = {}
    if _SIZES.value:
        for row in bar(ARCHITECTURES, desc="sizes", unit="network"):
            counted[row.name] = sizes(row)
    chosen = [t for t in plan.tables(papers, counted) if t.id in (_TABLE.value or known)]
    runs, results, note = _RUNS.value, pathlib.Path(_RESULTS.value), ""
    if _SMOKE.value:
        from deblur_tf.reproduction import smoke

        rows = plan.measurements(chosen)
        with bar(total=len(rows), unit="row") as progress:
            folder, results = smoke.everything(output / "smoke", rows, lambda _: progress.update())
        runs, note = str(folder), smoke.NOTE
    page = Page(chosen, Results(results, runs, _SMOKE.value), note)
    write_text(output / "report.md", page.markdown())
    write_text(output / "report.html", page.html())
    made, printed = page.counts()
    print(f"{made} of {printed} printed figures have one of ours: {output / 'report.html'}")
    return common.OK


def entry() -> None:
    common.run(main, __doc__)


if __name__ == "__main__":
    entry()
