"""The worked examples of docs/extending.md, as a reader would use them."""

import importlib.util
import json
import pathlib
import re
import shlex

import numpy as np
import pytest
from PIL import Image

from deblur_tf.diffusion.schedules import Schedule, inference_schedule, linear_betas
from deblur_tf.evaluation import runner
from deblur_tf.evaluation.subjects import Restored
from deblur_tf.models.restoration import Restoration, sample_keys
from tests.support.evaluations import Perfect, gray_set
from tests.support.gaussian import MEAN, STDDEV, moments
from tests.support.helpers import images, slow_but
from tests.support.programs import run
from tests.support.training_case import SMALL

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "extending.md"
BLOCKS = dict(re.findall(r"```(?:python)?\n# (\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with the page's files."""
    folder = tmp_path_factory.mktemp("mine")
    for name, text in BLOCKS.items():
        (folder / name).write_text(text)
    return folder


def module(folder, name):
    """A module of the page, loaded from its file: nothing is left on Python's path."""
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_every_block_is_used_here():
    assert sorted(BLOCKS) == [
        *("my_metric.py", "my_model.gin", "my_model.py"),
        *("my_pairs.gin", "my_pairs.py", "my_sampler.py"),
    ]
    assert PAGE.read_text().count("```") == 2 * len(BLOCKS)


def test_the_sampler(model, files):
    sampler = module(files, "my_sampler").DDIM()
    errors = []
    for steps in (100, 200):
        mean, variance = moments(sampler, Schedule(linear_betas(steps, 1e-6, 10.0 / steps)))
        assert mean == pytest.approx(MEAN, abs=0.02)
        errors.append(variance - STDDEV**2)
    assert errors[1] == pytest.approx(errors[0] / 2, rel=0.3)  # first order
    restored = Restoration(model, sampler)(
        images(0, 1, 13, 16, 3), sample_keys(0, [0]), inference_schedule(3)
    )
    assert np.isfinite(restored).all()


def test_the_metric(files):
    metric = module(files, "my_metric").MEAN_ERROR
    outcome = runner.evaluate(Restored(Perfect()), gray_set(), [metric])
    assert outcome.means["blurry"]["mean_error"] == 10.0
    assert "| 3 grays, whole images | mean error (of 255) |" in outcome.table


def typed(page, start):
    """The command of the page that begins so, as words without the program."""
    (line,) = re.findall(rf"`({re.escape(start)}[^`]*)`", page)
    return shlex.split(line)[1:]


@pytest.mark.parametrize("name", slow_but(["my_model", "my_pairs"], "my_model"))
def test_the_commands_train_and_restore_as_they_are_typed(name, files):
    """In the folder of the files, which is not on Python's path."""
    page = PAGE.read_text()
    train = typed(page, f"deblur-train --gin_file={name}.gin")
    shorter = ["TOTAL_STEPS = 2", "Recipe.validation_images = 1"]
    if name == "my_pairs":
        small = [flag.removeprefix("--gin_param=") for flag in SMALL if "CROP" not in flag]
        shorter = ["WARMUP_STEPS = 1", *small, *shorter]
    result = run("train", *train, *(f"--gin_param={x}" for x in shorter), cwd=files)
    assert result.returncode == 0, result.stderr
    if name != "my_model":
        return
    pixels = np.random.default_rng(0).integers(0, 256, (21, 18, 3), np.uint8)
    (files / "photos").mkdir()
    Image.fromarray(pixels).save(files / "photos" / "one.png")
    restore = typed(page, "deblur-restore")
    result = run("restore", *restore, "--nokeep_sharp", "--always", cwd=files)
    assert result.returncode == 0, result.stderr
    assert (files / "restored" / "one.png").is_file()
    without = [word for word in restore if not word.startswith("--import")]
    result = run("restore", *without, "--overwrite", cwd=files)
    assert result.returncode == 3
    assert "--import=MODULE" in result.stderr
    result = run("restore", *without, "--import=my_modle", "--overwrite", cwd=files)
    assert result.returncode == 2
    assert "--import=my_modle: no such module" in result.stderr


CALLBACK = """
import json
import deblur_tf
import keras


@deblur_tf.configurable
class Recorder(keras.callbacks.Callback):
    def note(self, kind, *about):
        with open("calls.jsonl", "a") as file:
            print(json.dumps([kind, type(self.model).__name__, *about]), file=file)

    def on_train_begin(self, logs=None):
        self.note("begin")

    def on_train_batch_end(self, batch, logs=None):
        self.note("step", batch, sorted(logs))

    def on_epoch_end(self, epoch, logs=None):
        self.note("validation", epoch, sorted(logs))

    def on_train_end(self, logs=None):
        self.note("end")
"""


def test_callbacks_are_told_of_steps_and_validations(tmp_path):
    """A Keras callback from a module of one's own, named by a gin parameter."""
    (tmp_path / "my_callbacks.py").write_text(CALLBACK)
    settings = ("TOTAL_STEPS = 4", "WARMUP_STEPS = 1", "Recipe.log_every = 2")
    settings += ("Recipe.validate_every = 4",)
    command = ["train", "--gin_file=smoke.gin", "--run_dir=run", "--import=my_callbacks", *SMALL]
    command += [f"--gin_param={x}" for x in (*settings, "Recipe.callbacks = (@Recorder,)")]
    result = run(*command, cwd=tmp_path, eager=True)
    assert result.returncode == 0, result.stderr
    calls = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert [call[0] for call in calls] == ["begin", "step", "step", "validation", "end"]
    assert [call[2] for call in calls[1:4]] == [2, 4, 4]
    assert {"learning_rate", "loss"} <= set(calls[1][3])
    assert "psnr_restored" in calls[3][3]
    assert {call[1] for call in calls} == {"GuidedDiffusion"}
