"""A thousand restorations by one object, and programs that are killed at any moment."""

import os
import pathlib
import random
import shutil
import signal
import time

import numpy as np
import psutil
import pytest
from PIL import Image

from deblur_tf.inference.deblurrer import Deblurrer
from tests.support.programs import run, start

SIZES = ((24, 20), (33, 47), (40, 40), (64, 48))


def mixed(number):
    """A picture of one of several kinds and sizes."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 256, (*SIZES[number % 4], 3), np.uint8)
    kinds = (
        lambda: pixels,
        lambda: pixels.astype(np.float32) / 255,
        lambda: pixels.astype(np.uint16) * 257,
        lambda: pixels[..., 0],
        lambda: np.concatenate([pixels, pixels[..., :1]], axis=-1),
        lambda: Image.fromarray(pixels),
        lambda: Image.fromarray(pixels[..., 0]),
        lambda: np.stack([pixels, pixels]),
    )
    return kinds[number // 4 % len(kinds)]()


@pytest.mark.slow
def test_a_thousand_restorations_leave_nothing_behind(micro_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    deblurrer, process = Deblurrer.from_pretrained(micro_dir), psutil.Process()
    for number in range(1000):
        n_samples = 1 + (number % 7 == 0)
        deblurrer.restore(mixed(number), seed=number, n_samples=n_samples, always=True)
        if number == 100:
            before = process.memory_info().rss, process.num_fds()
    memory, files = process.memory_info().rss, process.num_fds()
    assert memory < 1.1 * before[0], (memory / 2**20, before[0] / 2**20)
    assert files <= before[1]
    assert list(tmp_path.iterdir()) == []


def contents(folder):
    """All files of a folder by name, without what differs between equal runs."""
    volatile = ("manifest.json", "manifest.journal", "report.json", "figures.csv", "grid.csv")
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(pathlib.Path(folder).rglob("*"))
        if path.is_file() and path.name not in volatile
    }


@pytest.mark.slow
@pytest.mark.parametrize("program", ["restore", "evaluate", "data"])
def test_killed_at_any_moment_the_same_command_completes_to_the_same_bits(
    program, micro_dir, tmp_path
):
    """Six kills each; `KILLS` in the environment makes more."""
    rng = np.random.default_rng(0)
    for side in ("blur", "sharp"):
        (tmp_path / "pairs" / side).mkdir(parents=True)
        for i in range(12):
            image = rng.integers(0, 256, (40, 40, 3), np.uint8)
            Image.fromarray(image).save(tmp_path / "pairs" / side / f"{i}.png")
    command = {
        "restore": ["-i", "pairs/blur", "-m", micro_dir, "-n", "2", "-o"],
        "evaluate": ["model", "--pairs=pairs", "-m", micro_dir, "--metrics=psnr", "--save", "-o"],
        "data": ["synth", "--photos=pairs/sharp", "-o"],
    }[program]
    started = time.monotonic()
    whole = run(program, *command, "whole", cwd=tmp_path, eager=True)
    assert whole.returncode == 0, whole.stderr
    duration = time.monotonic() - started
    moments = random.Random(0)
    for i in range(int(os.environ.get("KILLS", "6"))):
        streams = tmp_path / f"out{i}", tmp_path / f"err{i}"
        process = start(program, *command, "cut", streams=streams, cwd=tmp_path, eager=True)
        time.sleep(moments.uniform(0.0, duration))
        process.send_signal(signal.SIGKILL)
        code = process.wait()
        assert code in (0, -signal.SIGKILL), (tmp_path / f"err{i}").read_text()
        if code == 0:  # it was faster; begin anew
            shutil.rmtree(tmp_path / "cut")
    last = run(program, *command, "cut", cwd=tmp_path, eager=True)
    assert last.returncode == 0, last.stderr
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
