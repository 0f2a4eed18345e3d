"""Many restorations by one object, and programs that are killed at any moment.

`UPLOADS` and `KILLS` in the environment make more: 1000 and 50 before a release.
"""

import contextlib
import ctypes
import gc
import os
import pathlib
import random
import shutil
import signal
import tempfile
import time

import numpy as np
import psutil
import pytest
from PIL import Image

from deblur_tf.inference.deblurrer import Deblurrer
from tests.support.programs import run, start

SOAK = int(os.environ.get("SOAK", "1000"))
UPLOADS = int(os.environ.get("UPLOADS", "130"))
KILLS = int(os.environ.get("KILLS", "3"))
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
def test_many_restorations_leave_nothing_behind(micro_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    deblurrer, process = Deblurrer.from_pretrained(micro_dir), psutil.Process()
    for number in range(SOAK):
        n_samples = 1 + (number % 7 == 0)
        deblurrer.restore(mixed(number), seed=number, n_samples=n_samples, always=True)
        if number == 100:
            before = process.memory_info().rss, process.num_fds()
    memory, files = process.memory_info().rss, process.num_fds()
    assert memory < 1.1 * before[0], (memory / 2**20, before[0] / 2**20)
    assert files <= before[1]
    assert list(tmp_path.iterdir()) == []


def kept_memory(process):
    """Bytes in use once garbage is collected and free memory is given back to the system."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)
    return process.memory_info().rss


@pytest.mark.slow
def test_many_restorations_through_the_page_leave_nothing_behind(micro_dir, tmp_path, monkeypatch):
    pytest.importorskip("gradio")
    client = pytest.importorskip("gradio_client")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", None)
    from deblur_tf.serving import page as module

    monkeypatch.setattr(module, "RESULTS_LIVE", 0.0)
    page, process = module.Page(Deblurrer.from_pretrained(micro_dir)), psutil.Process()
    visitor = client.Client(page.serve("127.0.0.1", 0, queue=4, block=False), verbose=False)
    for number in range(UPLOADS):
        path = tmp_path / f"{number}.{('png', 'jpg', 'tif')[number % 3]}"
        height, width = SIZES[number % 4]
        pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(path)
        words, *_ = visitor.predict(
            *(client.handle_file(str(path)), 1.0, 1 + number % 2, number, False, True),
            api_name="/restore",
        )
        assert "harp" in words, words
        path.unlink()
        shutil.rmtree(tmp_path / "gradio", ignore_errors=True)  # Gradio does this every hour
        if number == 100:
            before = kept_memory(process), process.num_fds()
    memory, files = kept_memory(process), process.num_fds()
    assert memory < 1.1 * before[0], (memory / 2**20, before[0] / 2**20)
    assert files <= before[1] + 2
    results = list((tmp_path / "temporary").glob("deblur-demo-*/*"))
    assert len(results) == 1  # the last, which the visitor may still fetch


def contents(folder):
    """All files of a folder by name, without what differs between equal runs."""
    volatile = ("manifest.json", "manifest.journal", "report.json", "figures.csv", "grid.csv")
    # A SavedModel holds a random identity, and its graph's nodes come in no fixed order.
    volatile += ("saved_model.pb", "fingerprint.pb")
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(pathlib.Path(folder).rglob("*"))
        if path.is_file() and path.name not in volatile
    }


@pytest.mark.slow
@pytest.mark.parametrize("what", ["restore", "evaluate", "synth", "prepare", "weights", "saved"])
def test_killed_at_any_moment_the_same_command_completes_to_the_same_bits(
    what, micro_dir, tmp_path
):
    rng = np.random.default_rng(0)
    for side in ("blur", "sharp"):
        (tmp_path / "pairs" / side).mkdir(parents=True)
        for i in range(12):
            image = rng.integers(0, 256, (40, 40, 3), np.uint8)
            Image.fromarray(image).save(tmp_path / "pairs" / side / f"{i}.png")
    measured = ["model", "--pairs=pairs", "-m", micro_dir, "--metrics=psnr", "--save"]
    program, *command = {
        "restore": ["restore", "-i", "pairs/blur", "-m", micro_dir, "-n", "2", "-o"],
        "evaluate": ["evaluate", *measured, "-o"],
        "synth": ["data", "synth", "--photos=pairs/sharp", "-o"],
        "prepare": ["data", "prepare", "folder", "--manual_dir=pairs", "--config=m", "--data_dir"],
        "weights": ["export", "-m", micro_dir, "--format=weights", "-o"],
        "saved": ["export", "-m", micro_dir, "-o"],
    }[what]
    eager = what != "saved"
    started = time.monotonic()
    whole = run(program, *command, "whole", cwd=tmp_path, eager=eager)
    assert whole.returncode == 0, whole.stderr
    duration = time.monotonic() - started
    moments = random.Random(0)
    for i in range(KILLS):
        streams = tmp_path / f"out{i}", tmp_path / f"err{i}"
        process = start(program, *command, "cut", streams=streams, cwd=tmp_path, eager=eager)
        time.sleep(moments.uniform(0.0, duration))
        process.send_signal(signal.SIGKILL)
        code = process.wait()
        assert code in (0, -signal.SIGKILL), (tmp_path / f"err{i}").read_text()
        complete = what == "weights" and contents(tmp_path / "cut") == contents(tmp_path / "whole")
        if code == 0 or complete:  # it was faster; begin anew
            shutil.rmtree(tmp_path / "cut")
    last = run(program, *command, "cut", cwd=tmp_path, eager=eager)
    assert last.returncode == 0, last.stderr
    found, want = tmp_path / "cut", tmp_path / "whole"
    if what == "saved":  # a kill after the last file leaves a complete version; the next is another
        want = want / "1"
        assert all(contents(version) == contents(want) for version in found.iterdir())
    else:
        assert contents(found) == contents(want)
