"""Output forms against their formulas in float64 NumPy."""

import keras
import numpy as np
import pytest

from deblur_tf.diffusion.outputs import Noise, Residual, Velocity
from deblur_tf.diffusion.schedules import inference_schedule
from deblur_tf.models.icdpm import GuidedDiffusion
from deblur_tf.models.restoration import Restoration, sample_keys
from deblur_tf.networks.unet import UNet
from tests.support.helpers import images

FORMS = {"noise": Noise(), "velocity": Velocity(), "residual": Residual(0.15)}
LEVELS = np.array([1e-3, 0.05, 0.5, 0.9, 0.999], "float32")


def case():
    """target, noise, known, noisy: float64 [5, 8, 8, 3], and level, sigma [5, 1, 1, 1]."""
    target, noise, known = (images(k, 5, 8, 8, 3).astype(np.float64) for k in range(3))
    level = LEVELS.astype(np.float64)[:, None, None, None]
    sigma = np.sqrt(1.0 - level**2)
    return target, noise, known, level * target + sigma * noise, level, sigma


def single(*arrays):
    return [a.astype("float32") for a in arrays]


@pytest.mark.parametrize("name", FORMS)
def test_the_wanted_output_stands_for_the_truth(name):
    target, noise, known, noisy, *_ = case()
    form = FORMS[name]
    t, n, k, x = single(target, noise, known, noisy)
    found = form.estimate(form.training_target(t, n, LEVELS, k), x, LEVELS, k)
    np.testing.assert_allclose(found.noise, noise, atol=2e-6)
    # Only the papers' form divides by the level.
    tolerance = 1e-6 / LEVELS[:, None, None, None] if name == "noise" else 2e-6
    assert np.all(np.abs(found.target - target) < tolerance + 1e-6)


def test_noise_and_velocity_hear_the_noisy_target_itself():
    _, _, known, noisy, *_ = case()
    for form in (Noise(), Velocity()):
        np.testing.assert_array_equal(form.scale(noisy, LEVELS, known), noisy)


def test_an_error_in_velocity_is_that_in_noise_over_the_level():
    target, noise, known, noisy, level, _ = case()
    t, n, k, x = single(target, noise, known, noisy)
    result = images(9, *target.shape)
    in_noise = np.array(Velocity().estimate(result, x, LEVELS, k).noise) - noise
    in_velocity = result - np.array(Velocity().training_target(t, n, LEVELS, k))
    np.testing.assert_allclose(in_noise, level * in_velocity, atol=1e-6)


@pytest.mark.parametrize("stddev", [0.05, 0.15, 0.6])
def test_residual_follows_its_formulas(stddev):
    """Those of Karras et al. with the blurry image as a second observation."""
    target, noise, known, noisy, level, sigma = case()
    t, n, k, x = single(target, noise, known, noisy)
    form = Residual(stddev)
    obs = noisy - level * known
    variance = level**2 * stddev**2 + sigma**2
    result = images(9, *target.shape).astype(np.float64)

    np.testing.assert_allclose(
        form.scale(x, LEVELS, k), level * stddev / variance * obs, rtol=1e-4, atol=1e-5
    )
    sharp = known + level * stddev**2 / variance * obs + stddev * sigma / variance**0.5 * result
    predicted = (noisy - level * sharp) / sigma
    found = form.estimate(result.astype("float32"), x, LEVELS, k)
    np.testing.assert_allclose(found.target, sharp, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.noise, predicted, rtol=1e-3, atol=1e-4)
    wanted = (target - known - level * stddev**2 / variance * obs) * variance**0.5
    wanted /= stddev * sigma
    # Even at l = 1e-3 no digits are lost; a difference of noises would keep three.
    np.testing.assert_allclose(form.training_target(t, n, LEVELS, k), wanted, rtol=2e-4, atol=2e-5)


def test_residual_has_unit_variance_on_its_assumptions():
    rng = np.random.default_rng(0)
    level = np.linspace(0.01, 0.99, 8).astype("float32")
    noise = rng.standard_normal((8, 64, 64, 3)).astype("float32")
    target = 0.15 * rng.standard_normal((8, 64, 64, 3)).astype("float32")
    wanted = np.array(Residual(0.15).training_target(target, noise, level, 0 * target))
    np.testing.assert_allclose(wanted.std(axis=(1, 2, 3)), 1.0, atol=0.03)


def test_one_look_of_an_untrained_residual_model_returns_its_input():
    model = GuidedDiffusion(
        UNet(8, (1, 2), num_res_blocks=1, num_middle_blocks=1, patch=2), output=Residual()
    )
    model.build()
    blurry = images(0, 2, 13, 10, 3)
    keys, schedule = sample_keys(0, [0, 1]), inference_schedule(1, 0.9999)
    np.testing.assert_allclose(Restoration(model)(blurry, keys, schedule), blurry, atol=2e-3)


@pytest.mark.parametrize("name", FORMS)
def test_forms_survive_the_model_file(name):
    model = GuidedDiffusion(UNet(4, (1, 2)), output=FORMS[name])
    config = keras.saving.serialize_keras_object(model)
    assert keras.saving.deserialize_keras_object(config).output_form == FORMS[name]


def test_a_stddev_of_zero_is_refused():
    with pytest.raises(ValueError, match="stddev must be positive"):
        Residual(0.0)


def test_one_look_at_pure_noise_is_the_network_alone():
    """At l near 0 the estimate is known + s F, whatever the noise."""
    _, noise, known, *_ = case()
    n, k = single(noise, known)
    level = np.full(5, 1e-4, "float32")
    result = images(9, *known.shape)
    found = Residual(0.15).estimate(result, n, level, k)
    np.testing.assert_allclose(found.target, known + 0.15 * result, atol=1e-5)
