"""Mistakes and bad luck: one line that names what is wrong, and the right exit code."""

import errno
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from deblur_tf.base import quiet
from tests.support.helpers import hears_ctrl_c
from tests.support.programs import run
from tests.support.programs_case import PROGRAMS, photo

# Refused before anything heavy is imported.
WITHOUT_LIBRARIES = """
import sys
sys.modules["tensorflow"] = sys.modules["keras"] = sys.modules["jax"] = None
from deblur_tf.bin import {program}
sys.argv = ["{program}", *{arguments!r}]
{program}.entry()
"""


def refused(program, arguments, cwd):
    code = WITHOUT_LIBRARIES.format(program=program, arguments=[str(a) for a in arguments])
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False
    )


def one_line(result, code, message):
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last


@pytest.fixture
def folder(tmp_path):
    photo(tmp_path / "a.png")
    (tmp_path / "photos").mkdir()
    photo(tmp_path / "photos" / "a.png")
    (tmp_path / "file").write_text("in the way")
    return tmp_path


@pytest.mark.parametrize(
    ("program", "arguments", "code", "message"),
    [
        ("restore", ["-i", "a.png", "-o", "out", "-m", "nothing"], 3, "no model 'nothing'"),
        ("restore", ["-i", "a.png", "-o", "file"], 2, "file: cannot be written to"),
        ("restore", ["-i", "a.png", "-o", "out", "--beta_max=7"], 2, "beta_max"),
        ("evaluate", ["--photos=photos", "-o", "out", "-m", "nothing"], 3, "no model 'nothing'"),
        ("evaluate", ["--photos=photos", "-o", "file"], 2, "file: cannot be written to"),
        ("evaluate", ["--photos=photos", "-o", "out", "--seed=-1"], 2, "seed"),
        ("evaluate", ["--photos=photos", "-o", "out", "--crop=5"], 2, "SSIM needs 11 pixels"),
        ("export", ["-o", "out", "-m", "nothing"], 3, "no model 'nothing'"),
        ("export", ["-o", "file"], 2, "file: cannot be written to"),
        ("train", ["--gin_file=tiny.gin", "--run_dir=x", "--init_from=nothing"], 3, "no model"),
        ("data", ["synth", "--photos=photos", "--output=file"], 2, "cannot be written to"),
        ("data", ["synth", "--photos=photos", "--output=out", "--seed=-1"], 2, "seed"),
    ],
)
def test_refused_at_once(program, arguments, code, message, folder):
    one_line(refused(program, arguments, folder), code, message)
    assert not (folder / "out").exists() or not any((folder / "out").iterdir())


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_says_its_version(program, folder):
    from deblur_tf import __version__

    result = refused(program, ["--version"], folder)
    assert (result.returncode, result.stdout.strip()) == (0, __version__)


@pytest.mark.parametrize("value", ["0", "7", "nan"])
def test_impossible_betas(value, folder):
    result = run("evaluate", "--photos=photos", "-o", "out", f"--beta_max={value}", cwd=folder)
    one_line(result, 2, "beta_max")


def test_a_run_directory_that_cannot_be(folder):
    result = run("train", "--gin_file=smoke.gin", "--run_dir=file", cwd=folder)
    one_line(result, 1, "file: cannot be written")


def test_jax_that_is_not_there(folder):
    code = WITHOUT_LIBRARIES.replace('sys.modules["keras"] = ', "").format(
        program="restore", arguments=["-i", "a.png", "-o", "out"]
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    )
    one_line(result, 2, "the package jax is not installed; pip install jax")


@pytest.fixture
def box(tmp_path, micro_dir):
    """A copy of a model, to be damaged; without its checksum."""
    folder = pathlib.Path(shutil.copytree(micro_dir, tmp_path / "box"))
    config = json.loads((folder / "model.json").read_text())
    del config["weights_sha256"]
    (folder / "model.json").write_text(json.dumps(config))
    return folder


def test_weights_of_another_kind(box, folder):
    with open(box / "weights.npz", "wb") as file:
        np.save(file, np.zeros(3))
    result = run("restore", "-i", "a.png", "-o", "out", "-m", box, cwd=folder)
    one_line(result, 3, "holds one array and no names")


def test_a_configuration_with_a_hole(box, folder):
    config = json.loads((box / "model.json").read_text())
    config["config"]["unet"] = None
    (box / "model.json").write_text(json.dumps(config))
    result = run("restore", "-i", "a.png", "-o", "out", "-m", box, cwd=folder)
    one_line(result, 3, "model.json: not a model configuration")


def test_a_result_that_is_not_finite(box, folder):
    weights = dict(np.load(box / "weights.npz"))
    weights["unet/conv_out/bias"] = np.full_like(weights["unet/conv_out/bias"], np.nan)
    np.savez(box / "weights.npz", **weights)
    result = run("restore", "-i", "a.png", "-o", "out", "-m", box, cwd=folder)
    assert "the result is not finite with 1 step(s) of beta_max 0.9975" in result.stderr
    one_line(result, 1, "1 of 1 failed: a.png")
    assert list((folder / "out").iterdir()) == []


@pytest.mark.slow
def test_more_steps_than_float32_has_levels_for_give_a_picture(folder, micro_dir):
    """With 300 steps of beta_max 0.9 the last noise level is e^-112."""
    settings = ("-m", micro_dir, "--steps=300", "--beta_max=0.9")
    result = run("restore", "-i", "a.png", "-o", "out", *settings, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "192 of the steps see nothing but noise" in result.stdout
    from PIL import Image

    blurry, restored = (np.asarray(Image.open(folder / n)) for n in ("a.png", "out/a.png"))
    assert np.abs(restored.mean() - blurry.mean()) < 40  # it was black


def test_ctrl_c_while_libraries_are_imported(folder):
    process = subprocess.Popen(
        [sys.executable, "-m", "deblur_tf.bin.restore", "-i", "a.png", "-o", "out"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hears_ctrl_c,
        env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"},  # says when an import is done
    )
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "deblur_tf.storage.model_folders" in line:  # the next import is a heavy one
            process.send_signal(signal.SIGINT)
            break
    _, rest = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in rest
    assert rest.rstrip().endswith("error: interrupted")


@pytest.mark.parametrize(
    ("line", "held"),
    [
        (b"WARNING: All log messages before absl::InitializeLog() is called ...\n", True),
        (b"I0000 00:00:1795284305.041600   22941 port.cc:153] oneDNN custom ...\n", True),
        (b"E0000 00:00:1795284305.041600   22941 cuda_platform.cc:52] failed ...\n", True),
        (b"Illegal instruction\n", False),
        (b"ImportError: no such library\n", False),
    ],
)
def test_only_start_up_lines_are_held_back(line, held):
    assert bool(quiet._START_UP.match(line)) == held


@pytest.mark.slow
def test_programs_start_without_a_word_of_tensorflow(folder, micro_dir):
    command = [sys.executable, "-m", "deblur_tf.bin.restore", "-i", "a.png", "-o", "out"]
    command += ["-m", str(micro_dir)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    result = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=env
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""


def test_a_photo_that_is_no_photo(folder):
    photo(folder / "photos" / "dot.png", size=(1, 1))
    result = run("train", "--gin_file=smoke.gin", "--photos=photos", "--run_dir=run", cwd=folder)
    one_line(result, 2, "dot.png: 1x1 pixels are too few to learn from")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk(number, folder):
    """At the first write of an evaluation, which has no name in the error."""
    first = f"""
from deblur_tf.evaluation import report
def full(*args):
    raise OSError({number}, "No space left on device")
report.write_text = full
"""
    result = run("evaluate", "--photos=photos", "-o", "out", cwd=folder, first=first)
    one_line(result, 1, "No space left on device: make room")


@pytest.mark.slow
def test_a_failed_export_leaves_nothing_in_the_way(folder, micro_dir):
    first = """
from deblur_tf.serving import export
def half(module, folder, signatures, options):
    os.makedirs(folder)
    pathlib.Path(folder, "saved_model.pb").write_text("half")
    raise OSError(28, "No space left on device")
export.tf.saved_model.save = half
"""
    for _ in range(2):
        result = run("export", "-m", micro_dir, "-o", "saved", cwd=folder, first=first)
        one_line(result, 1, "No space left on device")
        assert not (folder / "saved").exists() or not any((folder / "saved").iterdir())


def test_help_may_be_cut_short():
    command = f"{sys.executable} -m deblur_tf.bin.train --help | head -1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.stdout.startswith("Trains a model")
    assert result.stderr == ""
