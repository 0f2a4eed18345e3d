"""The same model, loss and training on JAX, where TensorFlow is not importable."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from deblur_tf.storage.arrays import named_variables, read_npz
from deblur_tf.storage.checkpoints import Checkpoints
from deblur_tf.training import loop
from deblur_tf.training.objectives.diffusion import Draws, batch_loss
from deblur_tf.training.steppers import make_stepper
from tests.support.helpers import images, randomize
from tests.support.models import MODELS
from tests.support.training_case import recipe

pytest.importorskip("jax")


@pytest.fixture
def on_jax(tmp_path_factory):
    """Runs a part of tests/support/jax_side.py; the processes share what they compile."""
    cache = tmp_path_factory.getbasetemp().parent / "jax"
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    return lambda *arguments: run_on_jax(environment, *arguments)


def run_on_jax(environment, *arguments):
    result = subprocess.run(
        [sys.executable, "-m", "tests.support.jax_side", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def case(path, name):
    model = MODELS[name]()
    model.build()
    randomize(model)
    arrays = {
        "model_name": name,
        "sharp": images(0, 2, 16, 24, 3),
        "blurry": images(1, 2, 16, 24, 3),
        "noise": images(2, 2, 16, 24, 3),
        "noise_level": np.array([0.3, 0.8], "float32"),
    }
    noise = tuple(images(k, 2, 16 // 2**k, 24 // 2**k, 1) for k in model.guidance_scales)
    weights = {f"model/{n}": np.array(v.value) for n, v in named_variables(model).items()}
    named = {f"guidance_noise_{k}": n for k, n in enumerate(noise, 1)}
    np.savez(path, **arrays, **weights, **named)
    return model, arrays, noise


@pytest.mark.slow
@pytest.mark.parametrize("name", ["small", "deconvolved"])
def test_same_weights_same_forward(tmp_path, on_jax, name):
    model, arrays, noise = case(tmp_path / "in.npz", name)
    on_jax("forward", tmp_path / "in.npz", tmp_path / "out.npz")
    got = np.load(tmp_path / "out.npz")
    want = model(arrays["sharp"], arrays["noise_level"], arrays["blurry"], noise)
    # Fourier transforms of some thousand terms differ more than convolutions do.
    atol = 1e-4 if name == "deconvolved" else 1e-5
    np.testing.assert_allclose(got["noise"], want["noise"], atol=atol)
    for k, gray in enumerate(want["gray"]):
        np.testing.assert_allclose(got[f"gray_{k}"], gray, atol=atol)


def test_same_loss_and_gradients(tmp_path, on_jax):
    model, arrays, noise = case(tmp_path / "in.npz", "micro")
    on_jax("gradients", tmp_path / "in.npz", tmp_path / "out.npz")
    got = np.load(tmp_path / "out.npz")
    draws = Draws(arrays["noise"], arrays["noise_level"], noise)
    with tf.GradientTape() as tape:
        condition = model.condition(arrays["blurry"], draws.guidance_noise)
        parts = batch_loss(model, condition, arrays["sharp"], draws, 30, 60)
        loss = tf.reduce_mean(parts["loss"])
    assert float(got["loss"]) == pytest.approx(float(loss), rel=1e-5)
    named = named_variables(model, trainable_only=True)
    for name, gradient in zip(named, tape.gradient(loss, model.trainable_variables), strict=True):
        scale = np.abs(gradient).max()
        assert scale > 0, name
        np.testing.assert_allclose(got[name], gradient, atol=1e-4 * scale, err_msg=name)


@pytest.mark.slow
def test_checkpoints_move_between_backends(tmp_path, on_jax, eager_steps):
    """TensorFlow trains 2 steps, JAX 2 more in parts, TensorFlow 2: as TensorFlow alone."""

    def on_tensorflow(run_dir, steps):
        made = recipe(model=MODELS["micro"], total_steps=steps, checkpoint_every=2)
        assert loop.train(made, make_stepper(made), made.pairs(), run_dir) == 0

    on_tensorflow(tmp_path / "alone", 6)
    start = Checkpoints(tmp_path / "mixed").folder
    start.mkdir(parents=True)
    shutil.copy(Checkpoints(tmp_path / "alone").all()[0], start)
    on_jax("train", tmp_path / "mixed", 4)
    state = read_npz(Checkpoints(tmp_path / "mixed").latest())
    assert int(state["step"]) == 4
    assert int(state["optimizer/iteration"]) == 4
    on_tensorflow(tmp_path / "mixed", 6)
    alone, mixed = (read_npz(Checkpoints(tmp_path / name).latest()) for name in ("alone", "mixed"))
    assert alone.keys() == mixed.keys()
    for name in alone:
        np.testing.assert_allclose(mixed[name], alone[name], atol=2e-4, err_msg=name)


@pytest.mark.slow
def test_models_of_latents_learn_the_same(on_jax, tmp_path, eager_steps):
    """With frozen weights, which JAX gets as arguments."""
    from tests.support.latent_models import trained_a_little

    on_jax("latents", tmp_path / "jax.npz")
    found, want = dict(np.load(tmp_path / "jax.npz")), trained_a_little()
    assert found.keys() == want.keys()
    for name, value in want.items():
        scale = np.abs(value).max() + 1e-6
        np.testing.assert_allclose(found[name], value, atol=2e-4 * scale, err_msg=name)


@pytest.mark.slow
def test_initial_weights_are_those_of_tensorflow(on_jax, tmp_path):
    import keras

    on_jax("initial", tmp_path / "jax.npz")
    keras.utils.set_random_seed(3)
    model = MODELS["small"]()
    model.build()
    found = dict(np.load(tmp_path / "jax.npz"))
    for name, variable in named_variables(model).items():
        np.testing.assert_array_equal(found[name], variable.value, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["host", "device"])
def test_several_steps_in_a_call_are_single_steps(where, on_jax, tmp_path):
    on_jax("scan", where, tmp_path / where)
    single, scanned = (dict(np.load(tmp_path / f"{where}.{n}.npz")) for n in (1, 4))
    assert single["losses"].shape == (8,)
    np.testing.assert_allclose(single["losses"], scanned["losses"], rtol=1e-5)
    assert single.keys() == scanned.keys()
    assert single["rate"] == scanned["rate"]
    for name, value in single.items():
        np.testing.assert_allclose(value, scanned[name], rtol=1e-3, atol=1e-5, err_msg=name)
    if where == "device":
        # TensorFlow makes the same pairs, and learns the same from them.
        from deblur_tf.data.input.device import DevicePairs

        stepper = make_stepper(recipe())
        batches = stepper.batches(DevicePairs(crop_size=16), 0)
        losses = [float(stepper(next(batches), step)["loss"]) for step in range(4)]
        np.testing.assert_allclose(losses, single["losses"][:4], rtol=2e-3)


@pytest.mark.slow
def test_what_tensorflow_alone_can_write_says_so(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "deblur_tf.bin.export", "-o", str(tmp_path / "out")],
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "needs KERAS_BACKEND=tensorflow" in result.stderr.splitlines()[-1]
    assert list((tmp_path / "out").iterdir()) == []
