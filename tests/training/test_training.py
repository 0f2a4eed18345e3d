"""The training loop and its steps: exact resume, compilation, faults, signals."""

import dataclasses
import signal

import numpy as np
import pytest

from deblur_tf.base.errors import NonFiniteError
from deblur_tf.data.input.batch import Batch
from deblur_tf.diffusion.outputs import Velocity
from deblur_tf.diffusion.sampling import SamplingSettings
from deblur_tf.storage.arrays import read_npz
from deblur_tf.storage.checkpoints import Checkpoints
from deblur_tf.training import loop
from deblur_tf.training.objectives.diffusion import Objective
from deblur_tf.training.steppers import make_stepper
from tests.support import programs
from tests.support.models import micro_model, nano_model
from tests.support.training_case import SMALL, recipe


def train(made, run_dir, **kwargs):
    one = make_stepper(made)
    assert loop.train(made, one, made.pairs(), run_dir, **kwargs) == 0
    return one


def newest(run_dir):
    return read_npz(Checkpoints(run_dir).latest())


def assert_same_state(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_resuming_is_exact_to_the_bit(tmp_path, capsys, eager_steps):
    """3 steps, a restart and 3 steps equal 6 steps; after that, nothing is left to do."""
    train(recipe(), tmp_path / "whole")
    train(recipe(total_steps=3), tmp_path / "parts")
    middle = newest(tmp_path / "parts")
    assert int(middle["step"]) == 3
    train(recipe(), tmp_path / "parts")
    state = newest(tmp_path / "parts")
    assert int(state["step"]) == int(state["optimizer/iteration"]) == 6
    assert_same_state(state, newest(tmp_path / "whole"))

    name = "unet/conv_in/kernel"
    assert np.abs(middle[f"model/{name}"] - state[f"model/{name}"]).max() > 0
    assert np.abs(state[f"ema/{name}"] - state[f"model/{name}"]).max() > 0

    train(recipe(), tmp_path / "parts")
    assert "nothing to do: 6 of 6" in capsys.readouterr().out
    assert_same_state(state, newest(tmp_path / "parts"))


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "accumulate"), [("float32", 2), ("mixed_bfloat16", 1)])
def test_the_whole_step_compiles_with_xla(dtype, accumulate):
    made = recipe(model=lambda: nano_model(dtype=dtype), accumulate=accumulate)
    plain = make_stepper(made)
    compiled = make_stepper(dataclasses.replace(made, jit_compile=True))
    batch = Batch(
        np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8),
        np.random.default_rng(1).integers(0, 256, (4, 16, 16, 3), np.uint8),
        np.arange(4, dtype=np.int32),
    )
    for step in range(2):
        a = {k: float(v) for k, v in plain(batch, step).items()}
        b = {k: float(v) for k, v in compiled(batch, step).items()}
        for name in a:
            assert a[name] == pytest.approx(b[name], rel=1e-4 if dtype == "float32" else 0.05)


def test_training_lowers_the_loss():
    made = recipe(model=lambda: nano_model(Velocity()), objective=Objective(warm_start_steps=0))
    one = make_stepper(made)
    batch = next(one.batches(made.pairs(), 0))
    losses = [float(one(batch, 0)["loss"]) for _ in range(40)]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_it_stops_by_itself_after_a_time_and_goes_on(tmp_path, capsys, eager_steps):
    made = recipe(log_every=1)
    assert loop.train(made, make_stepper(made), made.pairs(), tmp_path, stop_after=1e-3) != 0
    assert "are over: saving" in capsys.readouterr().out
    step = int(newest(tmp_path)["step"]) if Checkpoints(tmp_path).all() else 0
    assert step < 6
    assert loop.train(made, make_stepper(made), made.pairs(), tmp_path) == 0
    assert int(newest(tmp_path)["step"]) == 6


def test_the_last_checkpoint_is_there_before_the_last_validation(tmp_path, eager_steps):
    def validate(weights):
        raise MemoryError

    made = recipe(checkpoint_every=100, validate_every=100)
    with pytest.raises(MemoryError):
        train(made, tmp_path, validate=validate)
    assert int(newest(tmp_path)["step"]) == 6


def test_a_non_finite_loss_stops_the_run_loudly(tmp_path, eager_steps):
    made = recipe(checkpoint_every=1, total_steps=10)
    one = make_stepper(made)

    def exploding(batch, step, inner=one.__call__):
        if step == 4:
            first = one.model.trainable_variables[0]
            first.assign(np.full(first.shape, np.inf, "float32"))
        return inner(batch, step)

    class Wrapper:
        batches, state, restore = one.batches, one.state, one.restore
        averages, learning_rate = one.averages, one.learning_rate
        sum_over_workers, workers, chief = one.sum_over_workers, 1, True
        __call__, steps = staticmethod(exploding), one.steps

    with pytest.raises(NonFiniteError, match=r"step 5: the loss is not finite"):
        loop.train(made, Wrapper(), made.pairs(), tmp_path)
    state = newest(tmp_path)
    assert int(state["step"]) == 4
    assert all(np.isfinite(a).all() for a in state.values())


def test_progress_and_validation_are_recorded(tmp_path, capsys, eager_steps):
    seen = []

    def validate(weights):
        seen.append(weights)
        return {"psnr_restored": 20.0}, np.zeros((8, 24, 3), np.uint8)

    train(recipe(model=micro_model, validate_every=4), tmp_path, validate=validate)
    out = capsys.readouterr().out
    for word in ("step 2/6", "loss", "denoising", "regression", "learning_rate", "steps/s", "ETA"):
        assert word in out
    assert len(seen) == 2
    assert sorted(p.name for p in (tmp_path / "samples").iterdir()) == [
        "step_00000004.png",
        "step_00000006.png",
    ]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [e.step for e in events.Scalars("loss")] == [2, 4, 6]
    assert [e.step for e in events.Images("validation")] == [4, 6]


def test_real_validation_restores_the_grid(tmp_path):
    from deblur_tf.training.validation import Validation

    made = recipe(validation_images=2, sampling=SamplingSettings(2))
    one = make_stepper(made)
    figures, grid = Validation(made, made.pairs())(one.averages())
    assert grid.shape == (2 * 16, 3 * 16, 3)
    assert set(figures) == {"psnr_blurry", "psnr_restored"}
    np.testing.assert_array_equal(grid[:16, 32:], made.pairs()(2**62)[1])


@pytest.mark.slow
def test_a_run_that_is_stopped_and_killed_ends_as_one_that_was_not(tmp_path):
    """SIGTERM and Ctrl-C save first, and have their exit codes; a kill loses a little."""

    def begin(name):
        streams = [tmp_path / f"{name}.{kind}" for kind in ("out", "err")]
        settings = ["--gin_param=TOTAL_STEPS = 12", "--gin_param=Recipe.checkpoint_every = 2"]
        arguments = ["--gin_file=smoke.gin", f"--run_dir={tmp_path / name}", *settings, *SMALL]
        return programs.start("train", *arguments, streams=streams, eager=True)

    whole = begin("whole")
    reached = 0
    for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, 130), (signal.SIGKILL, -9)):
        process = begin("parts")
        process.wait_for(f"step {reached + 3:2d}/12")
        process.send_signal(number)
        ended = process.wait(60)
        printed = process.out.read_text() + process.err.read_text()
        assert ended == code, printed
        assert "Traceback" not in printed
        step = int(newest(tmp_path / "parts")["step"])
        # After a kill up to two steps are done again.
        assert reached + 3 - 2 * (number == signal.SIGKILL) <= step < 12
        reached = step
    assert begin("parts").wait() == 0
    assert whole.wait() == 0
    assert_same_state(newest(tmp_path / "whole"), newest(tmp_path / "parts"))
