"""The worked examples of docs/extending.md, as a reader would use them."""

import importlib
import pathlib
import re
import sys

import numpy as np
import pytest
import tensorflow as tf

from deblur_tf import config
from deblur_tf.evaluation import runner
from deblur_tf.evaluation.subjects import Restored
from deblur_tf.inference.deblurrer import Deblurrer
from deblur_tf.models import saved
from deblur_tf.models.restoration import Restoration, sample_keys
from deblur_tf.training import distribution, run
from tests.diffusion.test_samplers import Schedule, inference_schedule, linear_betas
from tests.support.evaluations import Perfect, gray_set
from tests.support.gaussian import MEAN, STDDEV, moments
from tests.support.helpers import images, slow_but
from tests.support.training_case import SMALL

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "extending.md"
BLOCKS = dict(re.findall(r"```(?:python)?\n# (\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL))


@pytest.fixture(scope="module", autouse=True)
def files(tmp_path_factory):
    """The page's files in a folder, from which Python imports."""
    folder = tmp_path_factory.mktemp("mine")
    for name, text in BLOCKS.items():
        (folder / name).write_text(text)
    sys.path.insert(0, str(folder))
    tf.config.run_functions_eagerly(True)
    yield folder
    tf.config.run_functions_eagerly(False)
    sys.path.remove(str(folder))


def test_every_block_is_used_here():
    assert sorted(BLOCKS) == [
        *("my_metric.py", "my_model.gin", "my_model.py"),
        *("my_pairs.gin", "my_pairs.py", "my_sampler.py"),
    ]
    assert PAGE.read_text().count("```") == 2 * len(BLOCKS)


def test_the_sampler(model):
    sampler = importlib.import_module("my_sampler").DDIM()
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


def test_the_metric():
    metric = importlib.import_module("my_metric").MEAN_ERROR
    outcome = runner.evaluate(Restored(Perfect()), gray_set(), [metric])
    assert outcome.means["blurry"]["mean_error"] == 10.0
    assert "| 3 grays, whole images | mean error (of 255) |" in outcome.table


@pytest.mark.parametrize("name", slow_but(["my_model", "my_pairs"], "my_model"))
def test_the_model_and_the_pairs_train_and_restore(name, files, tmp_path):
    settings = ["TOTAL_STEPS = 2", "Recipe.validation_images = 1"]
    if name == "my_pairs":
        small = [flag.removeprefix("--gin_param=") for flag in SMALL if "CROP" not in flag]
        settings = ["WARMUP_STEPS = 1", *small, *settings]
    config.load([str(files / f"{name}.gin")], settings)
    made = run.prepare(config.build("Recipe"), tmp_path, distribution.choose())
    assert run.train(made) == 0
    assert "held out" in made.held_out.describe() or name == "my_pairs"
    deblurrer = Deblurrer(*saved.load_model(tmp_path))
    picture = np.random.default_rng(0).integers(0, 256, (21, 18, 3), np.uint8)
    assert deblurrer.restore(picture, steps=2).shape == picture.shape
