"""A training as the program wires it: other settings, other weights, damaged files."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from deblur_tf import config
from deblur_tf.base.errors import CheckpointError, ConfigError, ModelError, UsageError
from deblur_tf.data.pairs import PairGenerator
from deblur_tf.models import saved
from deblur_tf.storage.arrays import named_variables, read_npz, select, values_of
from deblur_tf.storage.checkpoints import Checkpoints
from deblur_tf.training import distribution, run
from deblur_tf.training.objectives.adversarial import AlignedObjective, AlternatingPairs
from deblur_tf.training.steppers.base import clip_by_global_norm
from tests.support.training_case import SMALL

# Two depths and one scale, so that guidance has a place to enter.
GUIDED = (
    "UNet.channel_multipliers = (1, 2)",
    "UNet.guided_depths = (1,)",
    "MultiscaleGuidance.scales = (1,)",
)
SETTINGS = [flag.removeprefix("--gin_param=") for flag in SMALL]


@pytest.fixture(scope="module", autouse=True)
def eagerly():
    """Tracing would take longer than the few steps here."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def prepared(folder, *more, files=("smoke.gin",)):
    config.load(files, [*SETTINGS, "TOTAL_STEPS = 2", "WARMUP_STEPS = 1", *more])
    return run.prepare(config.build("Recipe"), folder, distribution.choose())


def train(folder, *more, **options):
    return run.train(prepared(folder, *more), **options)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A run of two steps, with a checkpoint of each."""
    folder = tmp_path_factory.mktemp("run") / "begun"
    assert train(folder, "Recipe.checkpoint_every = 1") == 0
    return folder


def test_the_first_line_says_what_is_learned_from_and_what_is_held_out(begun, tmp_path):
    line = prepared(tmp_path).describe("a device")
    assert "4 photos with synthetic blur" in line
    assert "validation on 1 photos held out of training" in line


def test_a_run_refuses_other_settings_and_names_them(begun):
    with pytest.raises(UsageError, match=r"LEARNING_RATE was 0\.0006, now 0\.1\); choose another"):
        train(begun, "LEARNING_RATE = 0.1")
    assert "0.0006" in (begun / "config.gin").read_text()  # nothing was rewritten
    with pytest.raises(UsageError, match="another model"):
        train(begun, "CH = 8")


def test_its_length_and_what_it_logs_may_change(begun, capsys):
    assert train(begun, "TOTAL_STEPS = 3", "Recipe.log_every = 2") == 0
    assert "resuming from" in capsys.readouterr().out
    assert int(read_npz(Checkpoints(begun).latest())["step"]) == 3


def test_a_new_run_begins_with_the_averaged_weights_of_another(begun, tmp_path, capsys):
    made = prepared(tmp_path / "new", "LEARNING_RATE = 1e-9", "TOTAL_STEPS = 1", "WARMUP_STEPS = 0")
    assert run.train(made, init_from=begun) == 0
    assert f"starting from {begun}" in capsys.readouterr().out
    want = select(read_npz(Checkpoints(begun).latest()), "ema")
    state = read_npz(Checkpoints(tmp_path / "new").latest())
    for group in ("model", "ema"):
        for name, value in select(state, group).items():
            np.testing.assert_allclose(value, want[name], atol=1e-6, err_msg=name)
    assert int(state["optimizer/iteration"]) == 1  # the optimizer began anew


def test_raw_or_averaged_weights_of_a_run(begun, tmp_path):
    state = read_npz(Checkpoints(begun).latest())
    for weights, group in (("ema", "ema"), ("raw", "model")):
        model, origin, *_ = saved.load_model(begun, weights=weights)
        assert ("averaged" in origin) == (weights == "ema")
        found = values_of(named_variables(model))
        for name, value in select(state, group).items():
            np.testing.assert_array_equal(found[name], value.astype(np.float32), err_msg=name)
    different = [
        name
        for name, value in select(state, "ema").items()
        if (value != select(state, "model")[name]).any()
    ]
    assert different
    saved.save_model(model, tmp_path)
    with pytest.raises(UsageError, match="has averaged weights alone"):
        saved.load_model(tmp_path, weights="raw")
    with pytest.raises(UsageError, match="weights='best': choose ema or raw"):
        saved.load_model(begun, weights="best")


@pytest.mark.slow
def test_parts_that_the_other_model_lacks_are_named(begun, tmp_path, capsys):
    with pytest.raises(CheckpointError, match="weights do not fit the model"):
        run.train(prepared(tmp_path / "wide", "CH = 8"), init_from=begun)
    guided = "GuidedDiffusion.guidance = @MultiscaleGuidance()"
    assert train(tmp_path / "guided", guided, *GUIDED) == 0
    aligned = prepared(
        tmp_path / "aligned",
        "MODEL = @AlignedDiffusion",
        "AlignedDiffusion.unet = @UNet()",
        "AlignedDiffusion.guidance = @MultiscaleGuidance()",
        *GUIDED,
        "TOTAL_STEPS = 1",
        "WARMUP_STEPS = 0",
    )
    assert run.train(aligned, init_from=tmp_path / "guided") == 0
    assert "; new: discriminator_1" in capsys.readouterr().out
    again = prepared(tmp_path / "again", guided, *GUIDED, "TOTAL_STEPS = 1", "WARMUP_STEPS = 0")
    assert run.train(again, init_from=tmp_path / "aligned") == 0
    assert "; not used: discriminator_1" in capsys.readouterr().out
    with pytest.raises(
        CheckpointError, match="of others: has none of the model's parts, which are "
    ):
        again.stepper.start_from({"other/kernel": np.zeros(3)}, "of others")


@pytest.mark.slow
def test_a_damaged_checkpoint_is_named_with_the_newest_whole_one(tmp_path, capsys):
    assert train(tmp_path, "Recipe.checkpoint_every = 1") == 0
    older, newest = Checkpoints(tmp_path).all()
    newest.write_bytes(newest.read_bytes()[:1000])
    message = rf"{newest.name}: cannot be read.* newest whole checkpoint is .*{older.name}"
    with pytest.raises(CheckpointError, match=message):
        train(tmp_path, "Recipe.checkpoint_every = 1")
    with pytest.raises(ModelError, match=message):
        saved.load_model(tmp_path)
    assert train(tmp_path, "Recipe.checkpoint_every = 1", resume="whole") == 0
    assert f"resuming from {older} at step 1" in capsys.readouterr().out
    assert int(read_npz(newest)["step"]) == 2


def test_a_checkpoint_of_another_kind_is_refused(tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    np.savez(folder / "step_00000001.npz", a=np.zeros(3))
    with pytest.raises(CheckpointError, match="no step in it"):
        Checkpoints(tmp_path).load()
    with open(folder / "step_00000001.npz", "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(CheckpointError, match="holds one array and no names"):
        Checkpoints(tmp_path).load()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("CROP_SIZE = 33\nUNet.patch = 2", "crop size 33 must be a multiple of 2"),
        ("CROP_SIZE = 0", "crop size 0 must be a multiple"),
        ("BATCH_SIZE = 8.0", "batch_size must be a whole number"),
        ("LEARNING_RATE = 'x'", "learning rate must be a positive number, got 'x'"),
        ("LEARNING_RATE = -1.0", "learning rate must be a positive number"),
        ("WARMUP_STEPS = -10", "warmup_steps must be a whole number"),
        ("BETA_1 = 5", r"beta_1 must be in \[0, 1\), got 5"),
        ("Recipe.clip_norm = -1.0", "clip_norm must be positive"),
        ("Recipe.validation_images = 0", "validation_images must be"),
        ("BODY_DTYPE = 'float16'", "dtype must be one of float32, mixed_bfloat16"),
        ("Objective.train_steps = 0", "steps must be 1 or more"),
        ("Objective.train_beta_max = 1.5", "need 0 < beta_min <= beta_max < 1"),
        ("Objective.regression_weight = -1.0", "regression_weight must not be negative"),
        ("MAX_EXTENT = 100.0", "max_extent must be from 0 to 30"),
        ("CROP_SIZE = 5000", "GiB"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_before_work(override, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        prepared(tmp_path, override)


def test_domains_need_an_even_batch():
    """With an odd one, rows would change their domain from batch to batch."""
    pairs = AlternatingPairs(*[lambda: PairGenerator(crop_size=16)] * 2)
    assert pairs.batch_multiple == 2


def test_clipping_is_by_the_norm_of_all_gradients_together():
    gradients = [np.array([3.0, 0.0], "float32"), np.array([[4.0]], "float32")]
    for norm, factor in ((2.5, 0.5), (10.0, 1.0), (None, 1.0)):
        for a, b in zip(clip_by_global_norm(gradients, norm), gradients, strict=True):
            np.testing.assert_allclose(a, factor * b, rtol=1e-6)
    zero = clip_by_global_norm([np.zeros(2, "float32")], 1.0)[0]
    np.testing.assert_array_equal(zero, [0.0, 0.0])


def test_what_finetunes_wants_weights_to_begin_with(tmp_path):
    """Adversarial alignment from nothing would train in silence what nobody wants."""
    aligned = prepared(
        tmp_path,
        "MODEL = @AlignedDiffusion",
        "AlignedDiffusion.unet = @UNet()",
        "AlignedDiffusion.guidance = @MultiscaleGuidance()",
        *GUIDED,
    )
    aligned = dataclasses.replace(
        aligned, recipe=dataclasses.replace(aligned.recipe, objective=AlignedObjective())
    )
    with pytest.raises(UsageError, match="finetunes, and --init_from is missing"):
        run.train(aligned)
