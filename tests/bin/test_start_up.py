"""What programs do before, or without, importing TensorFlow."""

import importlib
import json
import os
import pty
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from deblur_tf import config
from deblur_tf.base import quiet
from deblur_tf.base.errors import ConfigError
from tests.support import ROOT
from tests.support.programs import run

WITHOUT_TENSORFLOW = """
import sys
sys.modules["tensorflow"] = sys.modules["keras"] = None
sys.argv = {argv!r}
from deblur_tf.bin import {program}
{program}.entry()
"""


def without_tensorflow(program, *arguments, cwd):
    """A program where TensorFlow and Keras cannot be imported."""
    code = WITHOUT_TENSORFLOW.format(argv=[program, *map(str, arguments)], program=program)
    command = [sys.executable, "-c", code]
    path = {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env=os.environ | path
    )


@pytest.fixture
def restored(tmp_path, micro_dir):
    """A folder of two photographs and their results, and the command that made them."""
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        pixels = rng.integers(0, 256, (24, 20, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / name)
    command = ("-i", "in", "-o", "out", "-m", micro_dir)
    first = run("restore", *command, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    return tmp_path, command


def test_a_run_with_nothing_new_loads_no_model(restored):
    folder, command = restored
    manifest = (folder / "out" / "manifest.json").read_bytes()
    again = without_tensorflow("restore", *command, cwd=folder)
    assert again.returncode == 0, again.stderr
    assert "2 already there, skipped" in again.stdout
    assert (folder / "out" / "manifest.json").read_bytes() == manifest


@pytest.mark.parametrize(
    "change", ["another photo", "another flag", "a result is gone", "a source has changed", "model"]
)
def test_whatever_is_new_is_restored(change, restored, micro_dir):
    folder, command = restored
    if change == "another photo":
        Image.new("RGB", (20, 24)).save(folder / "in" / "c.png")
    elif change == "another flag":
        command = (*command, "--seed=1")
    elif change == "a result is gone":
        (folder / "out" / "a.png").unlink()
    elif change == "a source has changed":
        Image.new("RGB", (20, 24)).save(folder / "in" / "a.png")
    else:
        os.utime(micro_dir / "model.json")
    # It wants to load the model, which cannot be done here.
    refused = without_tensorflow("restore", *command, cwd=folder)
    assert refused.returncode == 2
    assert "the package keras is not installed" in refused.stderr
    again = run("restore", *command, cwd=folder)
    assert again.returncode == 0, again.stderr
    if change in ("a result is gone", "a source has changed"):
        assert "1 already there, skipped" in again.stdout


def test_a_failure_is_tried_again(restored):
    folder, command = restored
    (folder / "in" / "c.png").write_bytes(b"no picture")
    assert run("restore", *command, cwd=folder).returncode == 1
    assert without_tensorflow("restore", *command, cwd=folder).returncode == 2


@pytest.mark.parametrize(
    ("program", "arguments", "message"),
    [
        ("train", ["--gin_file=nothing.gin", "--run_dir=r"], "no gin file 'nothing.gin'"),
        (
            "train",
            ["--gin_file=tiny.gin", "--gin_param=BATCHSIZE = 8", "--run_dir=r"],
            "BATCH_SIZE?",
        ),
        ("evaluate", ["--gin_file=nothing.gin", "-o", "out"], "no gin file 'nothing.gin'"),
    ],
)
def test_errors_of_gin_files_do_not_wait_for_tensorflow(program, arguments, message, tmp_path):
    result = without_tensorflow(program, *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr


def test_every_packaged_file_passes_the_first_check():
    root = config.config_dir()
    whole = [*root.glob("*.gin"), *root.glob("papers/**/*.gin"), *root.glob("deblurdiff/*.gin")]
    assert len(whole) > 50
    for path in whole:
        config.check_files([str(path.relative_to(root))])
    with pytest.raises(ConfigError, match="nothing reads NOTHING"):
        config.check_files(["smoke.gin"], ["NOTHING = 1"])


def test_optional_packages_can_be_imported_afterwards(monkeypatch):
    """Those that are not loaded yet; what is loaded stays."""
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    monkeypatch.setattr(quiet, "OPTIONAL", ("colorsys", "json"))
    with quiet._without_optional():
        with pytest.raises(ImportError):
            importlib.import_module("colorsys")
        assert sys.modules["json"] is json
    assert importlib.import_module("colorsys").rgb_to_hsv
    monkeypatch.setenv("KERAS_BACKEND", "colorsys")  # as JAX is where it is the backend
    monkeypatch.delitem(sys.modules, "colorsys")
    with quiet._without_optional():
        assert importlib.import_module("colorsys")


@pytest.mark.slow
def test_the_library_is_imported_without_a_word(tmp_path):
    code = "import os; from deblur_tf import Deblurrer; print(sorted(os.environ))"
    env = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    command = [sys.executable, "-c", code]
    result = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=True, env=env
    )
    assert result.stderr == ""
    assert "TF_CPP_MIN_LOG_LEVEL" not in result.stdout


@pytest.mark.slow
def test_a_terminal_is_told_what_is_loaded_and_how_far_it_is(restored):
    """On a pseudo-terminal, within the first second, and a bar over the photographs."""
    folder, command = restored
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "deblur_tf.bin.restore", *map(str, command), "--overwrite"],
        cwd=folder,
        stdout=slave,
        stderr=slave,
        env={k: v for k, v in os.environ.items() if k != quiet.STARTED} | {"PYTHONPATH": str(ROOT)},
    )
    os.close(slave)
    said = b""
    while True:
        try:
            part = os.read(master, 1024)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        said += part
    os.close(master)
    assert process.wait() == 0, said.decode()
    text = said.decode()
    assert text.startswith("loading TensorFlow and Keras ...")
    assert "photo" in text
    assert "2/2" in text
    assert json.loads((folder / "out" / "manifest.json").read_text())["files"]
