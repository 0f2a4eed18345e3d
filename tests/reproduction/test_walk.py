"""From downloaded archives to filled cells, by the commands that are printed and nothing else."""

import json
import pathlib

import pytest

from tests.support.programs import run

DATASETS = pathlib.Path(__file__).parents[2] / "datasets"

# Makes rows tiny and the dummy data complete, as if the files said so; what needs weights of LPIPS
# to choose a point of a grid chooses it by PSNR.
FIRST = """
from deblur_tf import config
from deblur_tf.base import bindings
from deblur_tf.datasets import pair_builder
from deblur_tf.reproduction import smoke

pair_builder.PairBuilder.check_counts = lambda self, splits, source: None
plain = config.load

def load(files, overrides=()):
    plain(files, overrides)
    if not files:
        return
    text = bindings.all_bindings()
    own = bindings.parsed(text)
    tiny = [x for x in smoke.TINY if "smoke" not in x and x.split(" = ")[0] in own]
    tiny += ["Protocol.pictures = 0"]
    if "Protocol.grid" in own:
        tiny += ["Protocol.grid = ((1, 0.9), (2, 0.9))"]
    if "Protocol.choose" in own:
        tiny += ["Protocol.choose = 'psnr'"]
    plain(files, [*overrides, *tiny, *smoke.shallow(text)])

config.load = load
"""


@pytest.fixture
def do(tmp_path):
    """Runs a program in the folder, prepared for the dummy data; returns what it prints."""

    def call(*words, code=0, **more):
        result = run(*words, cwd=tmp_path, first=FIRST, **more)
        assert result.returncode == code, result.stderr
        return result.stdout + result.stderr

    return call


def commands(folder, name):
    """The commands that a report prints for a row that was not run, as arguments of `run`."""
    page = (folder / "report" / "report.md").read_text()
    parts = (line.removeprefix("- ").partition(": not run: ") for line in page.splitlines())
    lines = [text for names, _, text in parts if text and name in names.split(", ")]
    for command in (part for line in lines for part in line.split(" && ")):
        program, *arguments = command.split()
        yield [program.removeprefix("deblur-"), *arguments]


@pytest.mark.slow
def test_from_the_archive_to_the_cell(tmp_path, do):
    dummy = DATASETS / "gopro" / "dummy_data"
    do("data", "prepare", "gopro", f"--manual_dir={dummy}", "--data_dir=data")
    table = ("reproduce", "--table=icdpm/10", "--nosizes", "-o", "report")
    assert do(*table).startswith("0 of 3 printed figures")
    train, evaluate = commands(tmp_path, "Addition")
    do(*train, eager=True)
    do(*evaluate, eager=True)
    assert do(*table).startswith("1 of 3")
    measured = json.loads((tmp_path / "results/papers/icdpm/table10/add/report.json").read_text())
    assert measured["pictures"] == 2
    psnr = measured["means"]["sample"]["psnr"]
    assert f"{psnr:.3f}" in (tmp_path / "report" / "report.md").read_text()
    # Part of the set is another result, and does not stand in the cell.
    do(*evaluate, "--limit=1", eager=True)
    assert do(*table).startswith("0 of 3")
    assert "of a part of the test set" in (tmp_path / "report" / "report.md").read_text()


@pytest.mark.slow
def test_every_test_set_of_both_papers(tmp_path, do):
    """Tables 4 to 7 of icDPM, 1 and 2 of DvSR, and a row of Table 2 on two test sets.

    Three trainings. Each row's test set, grid, choice and metrics come from its own file.
    """
    pytest.importorskip("cv2")  # RealBlur's alignment
    for name, *config in (
        *(["gopro"], ["hide", "--config=test"], ["realblur_j"]),
        ["reds", "--config=blur_jpeg_test"],
    ):
        manual = f"--manual_dir={DATASETS / name / 'dummy_data'}"
        do("data", "prepare", name, manual, "--data_dir=data", *config)
    chosen = ("icdpm/2", "icdpm/4", "icdpm/5", "icdpm/6", "icdpm/7", "dvsr/1", "dvsr/2")
    for table in chosen:
        report = ("reproduce", f"--table={table}", "--nosizes", "-o", "report")
        before = int(do(*report).split()[0])
        for command in list(commands(tmp_path, "icDPM-S" if table == "icdpm/2" else "Ours")):
            do(*command, eager=True)
        after = int(do(*report).split()[0])
        assert after == before + 2, table  # PSNR and SSIM; two test sets' PSNR in Table 2
        page = (tmp_path / "report" / "report.md").read_text()
        if table != "icdpm/2":
            assert "best psnr of 2 points of the grid" in page
    # icDPM's Tables 4 and 6 also show DvSR's rows, which the last two tables have filled.
    shared = do("reproduce", "--table=icdpm/4", "--table=icdpm/6", "--nosizes", "-o", "report")
    assert shared.startswith("8 of")
