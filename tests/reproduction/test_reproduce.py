"""deblur-reproduce: the plan covers the papers, and the whole chain runs."""

import json
import shlex

import pytest

from deblur_tf import config
from deblur_tf.reproduction import plan
from deblur_tf.reproduction.collect import Results
from deblur_tf.reproduction.pages import Page
from tests.support.browser import page
from tests.support.programs import run

PAPERS = plan.paper_tables()
TABLES = {table.id: table for table in plan.tables(PAPERS, {})}


def test_every_printed_figure_is_in_the_plan():
    printed = [
        (f"{paper}/{key.removeprefix('table').replace('section', 'sec')}", row["name"], row)
        for paper, tables in PAPERS.items()
        for key, table in tables.items()
        for row in table["rows"]
    ]
    rows = [(t.id, row.name, row) for t in TABLES.values() for row in t.rows]
    for (table, name, want), (found_table, found_name, row) in zip(printed, rows, strict=True):
        assert (table, name) == (found_table, found_name)
        for cell in row.cells:
            assert cell.paper == want[cell.column] or table in ("icdpm/8", "dvsr/3")


def test_every_row_of_the_papers_has_its_gin_file_in_a_table_or_figure():
    named = {made.gin_file for made in plan.measurements(list(TABLES.values()))}
    text = " ".join(figure.command + " " + figure.file for figure in plan.FIGURES)
    root = config.config_dir()
    for path in sorted(root.glob("papers/**/*.gin")):
        name = str(path.relative_to(root))
        assert name in named or name.removesuffix(".gin") in text, name
    for name in named:
        config.find_gin_file(name)


def test_cells_without_a_figure_say_why():
    for table in TABLES.values():
        for row in table.rows:
            for cell in row.cells:
                setting = cell.column in ("row", "guide_ch", "ch", "batch", "ema", "scale")
                setting |= cell.column in ("regression", "scales", "guidance")
                if cell.paper is not None and not setting and row.name != "Ground Truth":
                    assert cell.measurement or cell.why or cell.ours is not None, (table.id, cell)


def report(folder, means, kind="sample", protocol="", **changes):
    """A report as `deblur-evaluate model --gin_file=...` writes it for the row of that folder."""
    folder.mkdir(parents=True, exist_ok=True)
    name = str(folder).partition("results/")[2].partition("@")[0].partition("/T")[0]
    row = {"gin_files": [f"{name}.gin"], "protocol": protocol, "changes": [], "model_fits": True}
    row |= {"pictures": 1111}
    settings = {"row": row, "size": "whole images", "limit": 0}
    settings |= {"sampling": {"steps": 100, "beta_max": 0.1}}
    found = {"settings": settings, "means": {kind: means}, "pictures": 1111, "metrics": {}}
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = found
        for parent in parents:
            place = place[parent]
        place[last] = value
    (folder / "report.json").write_text(json.dumps(found))


def value(results, table="icdpm/4", column=0):
    row = next(r for r in TABLES[table].rows if r.name == "Ours")
    return Results(results, "runs").of(row, row.cells[column])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings__row": None}, "measure with --gin_file"),
        (
            {"settings__row__gin_files": ["papers/icdpm/table2/c.gin"]},
            "it is of papers/icdpm/table2",
        ),
        ({"settings__row__changes": ["CH = 4"]}, "other settings than the row: CH = 4"),
        ({"settings__row__model_fits": False}, "its model is not the row's"),
        ({"settings__size": "central 96x96 pixels"}, "central 96x96 pixels, not of whole images"),
        ({"settings__limit": 2}, "a part of the test set"),
        ({"pictures": 2}, "of 2 pictures; the test set has 1111"),
        ({"settings__smoke": True}, "a smoke run"),
    ],
)
def test_a_report_of_something_else_is_refused(tmp_path, changes, message):
    """The box on two small crops, put into the row's folder, is not the row's result."""
    folder = tmp_path / "results" / "papers/icdpm/table4/ours"
    report(folder, {"lpips_alex": 0.1})
    assert value(tmp_path / "results").value == 0.1
    report(folder, {"lpips_alex": 0.1}, **changes)
    found = value(tmp_path / "results")
    assert found.value is None
    assert message in found.why


def test_the_chosen_point_and_own_statistics_are_said(tmp_path):
    folder = tmp_path / "results" / "papers/icdpm/table4/ours"
    choice = {"choice": "best lpips_alex of 19 points of the grid"}
    report(folder, {"niqe": 4.0}, **choice, metrics={"niqe": {"own": True}})
    found = value(tmp_path / "results", column=1)
    assert found.value == 4.0
    assert not found.comparable
    assert "100 steps, beta_max 0.1; best lpips_alex of 19 points" in found.note
    text = Page([TABLES["icdpm/4"]], Results(tmp_path / "results", "runs")).markdown()
    assert "- Ours: 100 steps, beta_max 0.1; best lpips_alex" in text
    assert "| Ours | 0.057 | 3.27 / 4.00 |" in text
    assert "(+0.73)" not in text


def test_figures_stand_beside_the_papers(tmp_path):
    results = tmp_path / "results"
    for n, value in ((4, 31.0), (6, 29.0), (7, 30.0)):
        report(results / f"papers/icdpm/table{n}/ours", {"psnr": value, "lpips_alex": 0.1})
    report(results / "papers/icdpm/table5/ours", {"psnr_aligned": 26.0, "psnr": 1.0})
    report(results / "papers/icdpm/table4/ours_sa", {"psnr": 33.5}, kind="mean")
    (results / "papers/icdpm/table2/c").mkdir(parents=True)
    (results / "papers/icdpm/table2/c/grid.csv").write_text(
        "kind,psnr,lpips_alex\nsample,30,0.3\nsample,31,nan\nmean,40,0.1\n"
    )
    made = Page(list(TABLES.values()), Results(results, "runs"))
    text = made.markdown()
    assert "| Ours | 0.057 / 0.100 (+0.043) | 3.27 |" in text
    assert "31.19 / 31.00 (-0.19)" in text
    assert "33.2 / 33.50 (+0.30)" in text
    assert "28.81 / 29.00 (+0.19)" in text  # the mean of four
    assert (
        "| icDPM-S w/ Guide-S | c | 32 | 32 | 10 | 0.068 / 0.300 (+0.232) | 31.298 / 31.000" in text
    )
    assert "Ours: not run: deblur-train --gin_file=papers/icdpm/table4/ours.gin" not in text
    assert (
        "deblur-train --gin_file=papers/dvsr/table1/ours.gin --data_dir=data --run_dir=runs/papers"
        in text
    )
    assert "HINet, MPRNet, MIMO-UNet+" in text
    assert "its weights may be missing" in text
    done, printed = made.counts()
    assert done >= 5 + 2 + 7
    assert printed > 500
    html = made.html()
    assert html.count("<table>") == len(TABLES)
    assert f"{done} of {printed} printed figures" in html


def test_the_commands_of_rows_are_ones_that_exist():
    """Flags are checked in test_docs.py; here that the programs parse."""
    made = TABLES["icdpm/2"].rows[0].cells[-1].measurement
    words = shlex.split(made.evaluate_command("runs", "results"))
    assert "--protocol=realblur_j-v1" in words
    assert words[-1] == "results/papers/icdpm/table2/a@realblur_j-v1"
    result = run("evaluate", *words[1:])
    assert result.returncode == 3
    assert "no model 'runs/papers/icdpm/table2/a'" in result.stderr


def test_a_table_that_is_not_there_is_refused(tmp_path):
    result = run("reproduce", "--table=icdpm/99", "-o", tmp_path)
    assert result.returncode == 2
    assert "no table 'icdpm/99'; there are icdpm/1, icdpm/2" in result.stderr


@pytest.mark.slow
def test_the_whole_chain_runs(tmp_path):
    """Trains, samples and measures rows of each kind; the page is seen in a browser.

    All tables of DvSR with its figures, those of icDPM that differ in their networks, and
    DeblurDiff's ablation.
    """
    chosen = [t for t in TABLES if t.startswith("dvsr/")] + [
        "icdpm/5",
        "icdpm/9",
        "icdpm/10",
        "deblurdiff/ablation",
    ]
    tables = [f"--table={name}" for name in chosen]
    result = run("reproduce", "--smoke", "--nosizes", *tables, "-o", tmp_path)
    assert result.returncode == 0, result.stderr
    text = (tmp_path / "report.md").read_text()
    for made in plan.measurements([TABLES[name] for name in chosen]):
        folder = tmp_path / "smoke" / "results" / made.results
        assert (folder / "report.json").is_file() or (folder / "grid.csv").is_file(), made
        assert (tmp_path / "smoke" / "runs" / made.run / "model.json").is_file()
    assert not [line for line in text.splitlines() if "not run: deblur-evaluate" in line]
    for name in ("fig3", "fig5", "fig8", "fig9", "fig1 and 7"):
        assert f"- dvsr/{name}: " in text
    assert text.count(": made") == sum(f.id.startswith("dvsr/") for f in plan.FIGURES)
    with page() as shown:
        shown.goto(f"file://{tmp_path}/report.html")
        assert shown.locator("table").count() == len(chosen)
        widths = shown.evaluate("[...document.images].map(i => i.naturalWidth)")
        assert len(widths) > 8
        assert min(widths) > 60
        shown.screenshot(path=tmp_path / "report.png")


def test_tables_without_printed_figures_show_ours_alone(tmp_path):
    """DeblurDiff's: the paper's values are not at hand, so none is invented, nor counted."""
    table = TABLES["deblurdiff/gopro"]
    assert all(cell.paper is None for row in table.rows for cell in row.cells)
    made = table.rows[0].cells[0].measurement
    report(tmp_path / "results" / made.results, {"psnr": 28.125})
    page = Page([table], Results(tmp_path / "results", "runs"))
    assert page.counts() == (0, 0)
    assert "| DeblurDiff |  |  |  |  | 28.12 |  |" in page.markdown()
    assert "deblur-weights convert deblurdiff" in page.markdown()  # of the released weights
