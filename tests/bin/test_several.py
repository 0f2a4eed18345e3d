"""Processes that share the work of one command."""

import sys

import pytest

from deblur_tf.base.errors import UsageError
from deblur_tf.bin import several

PROGRAM = """
import pathlib, sys
shard = sys.argv[-1]
mark = pathlib.Path(sys.argv[1]) / shard[-3]
print("part", shard, flush=True)
print("the same for all", file=sys.stderr)
before = mark.exists()
mark.touch()
sys.exit({codes}[shard[-3]] if not before else 0)
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Runs a program whose parts end with the given exit codes at first, and then with 0."""

    def run(codes, devices):
        (tmp_path / "part_program.py").write_text(PROGRAM.format(codes=codes))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(sys, "argv", ["x", str(tmp_path), "--devices", devices, "--limit=3"])
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        return several.run("part_program", devices)

    return run


def test_each_part_runs_once(program, capsys):
    assert program({"1": 0, "2": 0}, "2") == 0
    said = capsys.readouterr()
    assert sorted(said.out.split("\n"))[1:] == [f"[{i}/2] part --shard={i}/2" for i in (1, 2)]
    assert said.err.count("the same for all") == 1


def test_what_waits_for_others_runs_again(program, capsys):
    assert program({"1": 75, "2": 0}, "2") == 0
    assert capsys.readouterr().out.count("part --shard=1/2") == 2


def test_a_failure_is_reported_and_ends_the_rounds(program, capsys):
    assert program({"1": 75, "2": 4}, "2") == 75
    assert capsys.readouterr().out.count("part --shard=1/2") == 1
    assert program({"1": 0, "2": 3}, "2") == 0  # the marks are there now


def test_gpus_are_those_that_may_be_used(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert several.gpus() == ["2", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert several.gpus() == []


def test_devices_are_a_number_or_all():
    assert [several.wanted(x) for x in ("1", "2", "all")] == [False, True, True]
    for wrong in ("0", "-1", "two", ""):
        with pytest.raises(UsageError, match="--devices"):
            several.wanted(wrong)
