"""What deblur-runs lists and plots."""

import json

import numpy as np
import pytest
from PIL import Image

from deblur_tf.base.errors import UsageError
from deblur_tf.training import histories
from tests.support.programs import run


@pytest.fixture
def runs(tmp_path):
    """Two runs that differ in one setting, the second with a line that a kill cut short."""
    for name, rate, best in (("a", "1e-3", 27.5), ("b", "3e-4", 28.25)):
        folder = tmp_path / "runs" / name
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "config.gin").write_text(
            f"# Macros:\nLEARNING_RATE = {rate}\nSEED = 0\nTOTAL_STEPS = 400\n"
        )
        lines = [{"step": 100 * i, "loss": 1.0 / i} for i in (1, 2, 3)]
        lines += [{"step": 200, "psnr_restored": best}, {"step": 300, "psnr_restored": 26.0}]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "metrics.jsonl").write_text(text + '{"step": 400, "lo' * (name == "b"))
        for step in (200, 300):
            (folder / "checkpoints" / f"step_{step:08d}.npz").touch()
    return tmp_path / "runs"


def test_the_list_has_steps_best_validation_and_what_differs(runs):
    result = run("runs", "list", runs)
    assert result.returncode == 0, result.stderr
    a, b = (line for line in result.stdout.splitlines() if line.startswith(f"| {runs}"))
    assert a.endswith("/a | 300 of 400 | 2, last step_00000300 | 27.50 | 200 |")
    assert b.endswith("/b | 300 of 400 | 2, last step_00000300 | 28.25 | 200 |")
    assert "LEARNING_RATE:" in result.stdout
    assert f"{runs}/b: 3e-4" in result.stdout
    assert "SEED:" not in result.stdout  # in which they agree


def test_the_plot_shows_what_was_logged(runs, tmp_path):
    result = run("runs", "plot", runs / "a", runs / "b", "-o", tmp_path / "plot.png")
    assert result.returncode == 0, result.stderr
    with Image.open(tmp_path / "plot.png") as image:
        assert image.width > 2 * image.height
        assert np.asarray(image).std() > 5
    found = histories.find([str(runs)])
    assert found[1].series("loss") == [(100, 1.0), (200, 0.5), (300, pytest.approx(1 / 3))]
    with pytest.raises(UsageError, match="no run has logged 'los'; there are loss, psnr_restored"):
        histories.plot(found, tmp_path / "x.png", ["los"])


def test_what_is_no_run_is_said(tmp_path):
    for arguments, said in (
        (["list"], "give list or plot"),
        (["list", tmp_path / "none"], "no such folder"),
        (["list", tmp_path], "no runs of deblur-train there"),
    ):
        result = run("runs", *arguments)
        assert result.returncode == 2
        assert said in result.stderr
    with pytest.raises(UsageError, match="no run directory"):
        histories.read(tmp_path)
