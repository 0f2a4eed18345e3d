"""From downloaded archives to a filled cell, by the documented commands and nothing else."""

import json
import pathlib

import pytest

from tests.support.programs import run

DUMMY = pathlib.Path(__file__).parents[2] / "datasets" / "gopro" / "dummy_data"

# Makes the row's network tiny and its data set as small as the dummy data, as if the files said so.
FIRST = """
from deblur_tf import config
from deblur_tf.base import bindings
from deblur_tf.datasets.gopro import gopro_dataset_builder
from deblur_tf.reproduction import smoke

gopro_dataset_builder.Builder.COUNTS = {"train": 2, "test": 2}
plain = config.load

def load(files, overrides=()):
    plain(files, overrides)
    if not files:
        return
    text = bindings.all_bindings()
    own = bindings.parsed(text)
    tiny = [x for x in smoke.TINY if "smoke" not in x and x.split(" = ")[0] in own]
    tiny += ["Protocol.pictures = 2"]
    if "Protocol.grid" in own:
        tiny += ["Protocol.grid = ((1, 0.9), (2, 0.9))"]
    plain(files, [*overrides, *tiny, *smoke.shallow(text)])

config.load = load
"""


@pytest.mark.slow
def test_from_the_archive_to_the_cell(tmp_path):
    def do(*words, code=0, **more):
        result = run(*words, cwd=tmp_path, first=FIRST, **more)
        assert result.returncode == code, result.stderr
        return result.stdout + result.stderr

    do("data", "prepare", "gopro", f"--manual_dir={DUMMY}", "--data_dir=data")
    report = do("reproduce", "--table=icdpm/10", "--nosizes", "-o", "report")
    assert report.startswith("0 of 3 printed figures")
    page = (tmp_path / "report" / "report.md").read_text()
    row = "papers/icdpm/table10/add"
    line = next(line for line in page.splitlines() if line.startswith("- Addition: not run: "))
    train, evaluate = line.removeprefix("- Addition: not run: ").split(" && ")
    # What the report prints is typed as it stands.
    do(*program(train), eager=True)
    do(*program(evaluate), eager=True)
    assert do("reproduce", "--table=icdpm/10", "--nosizes", "-o", "report").startswith("1 of 3")
    measured = json.loads((tmp_path / "results" / f"{row}/report.json").read_text())
    assert measured["pictures"] == 2
    psnr = measured["means"]["sample"]["psnr"]
    assert f"{psnr:.3f}" in (tmp_path / "report" / "report.md").read_text()
    # Part of the set is another result, and does not stand in the cell.
    do(*program(evaluate), "--limit=1", eager=True)
    assert do("reproduce", "--table=icdpm/10", "--nosizes", "-o", "report").startswith("0 of 3")
    assert "of a part of the test set" in (tmp_path / "report" / "report.md").read_text()


def program(command):
    """A printed command as arguments of `run`."""
    name, *arguments = command.split()
    return [name.removeprefix("deblur-"), *arguments]
