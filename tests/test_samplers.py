"""Sampling, held to a case with a known answer and to the model interface."""

import numpy as np
import pytest
from keras import ops

from deblur_tf.diffusion import samplers
from deblur_tf.sampling import Sampler, sample_keys
from deblur_tf.schedules import Schedule, inference_schedule, linear_betas
from tests.conftest import images

MEAN, STDDEV = 0.3, 0.5


def ideal_denoise(noisy, noise_level):
    """E[noise | x_t] for x_0 ~ N(MEAN, STDDEV^2), from Gaussian conditioning."""
    level = noise_level[:, None, None, None]
    sigma = ops.sqrt(1 - level**2)
    return sigma * (noisy - level * MEAN) / (level**2 * STDDEV**2 + sigma**2)


def gaussian_moments(schedule):
    """Mean and variance of the sampler's output, by its own linear recursion."""
    mean, variance = 0.0, 1.0
    for t in range(schedule.steps, 0, -1):
        level, ab = schedule.noise_levels[t], schedule.alpha_bars[t - 1]
        gain = level * STDDEV**2 / (ab * STDDEV**2 + 1 - ab)  # E[x_0 | x_t] = MEAN + gain (...)
        slope = schedule.posterior_mean_sharp[t - 1] * gain + schedule.posterior_mean_noisy[t - 1]
        offset = schedule.posterior_mean_sharp[t - 1] * MEAN * (1 - gain * level)
        mean = slope * mean + offset
        variance = slope**2 * variance + schedule.posterior_variance[t - 1]
    return mean, variance


def draw(schedule, count=200_000):
    rng = np.random.default_rng(0)

    def noise(t):
        del t
        return rng.standard_normal((count, 1, 1, 1)).astype("float32")

    return np.array(samplers.ddpm_sample(ideal_denoise, noise, schedule, limit=lambda x: x)).ravel()


def test_gaussian_data_come_back_with_their_mean_and_variance():
    schedule = Schedule(linear_betas(1000, 1e-6, 0.02))
    x = draw(schedule, 40_000)
    error = STDDEV / np.sqrt(x.size)
    assert x.mean() == pytest.approx(MEAN, abs=5 * error)
    assert x.var() == pytest.approx(STDDEV**2, rel=0.02 + 5 * np.sqrt(2 / x.size))


@pytest.mark.parametrize("settings", [(20, 0.5), (30, 0.5), (100, 0.1)])
def test_few_steps_match_the_exact_recursion(settings):
    schedule = inference_schedule(*settings)
    x = draw(schedule)
    mean, variance = gaussian_moments(schedule)
    assert x.mean() == pytest.approx(mean, abs=5 * np.sqrt(variance / x.size))
    assert x.var() == pytest.approx(variance, rel=5 * np.sqrt(2 / x.size))


def test_table_holds_the_schedule():
    schedule = inference_schedule(20)
    table = samplers.ddpm_table(schedule)
    assert table.shape == (20, 5)
    assert table.dtype == np.float32
    np.testing.assert_allclose(table[:, samplers.NOISE_LEVEL], schedule.noise_levels[1:], rtol=1e-6)
    assert table[0, samplers.STDDEV] == 0.0


def test_the_estimate_is_clipped():
    def denoise(noisy, noise_level):
        return 0 * noisy - 100.0  # an absurdly bright estimate

    x = samplers.ddpm_sample(denoise, lambda t: images(t, 1, 2, 2, 3), inference_schedule(5))
    np.testing.assert_allclose(x, 1.0, atol=1e-5)


def test_steps_are_reported_and_noise_is_asked_for_once_each():
    asked, done = [], []

    def noise(t):
        asked.append(t)
        return images(t, 1, 2, 2, 3)

    samplers.ddpm_sample(ideal_denoise, noise, inference_schedule(4), on_step=done.append)
    assert asked == [4, 3, 2, 1, 0]
    assert done == [1, 2, 3, 4]


class Counting:
    """A stand-in for a model that counts its calls."""

    sampling_steps = staticmethod(lambda steps: steps)
    to_image = to_target = staticmethod(lambda image, condition: image)
    size_multiple = 8
    guidance_scales = (1, 2)
    variables = ()

    def __init__(self):
        self.guided = self.denoised = 0

    def guide(self, blurry, noise):
        self.guided += 1
        assert [n.shape[1:3] for n in noise] == [(8, 8), (4, 4)]
        return blurry

    def denoise(self, noisy, noise_level, blurry, guidance):
        self.denoised += 1
        return noisy - guidance


def test_guidance_is_computed_once_per_image(monkeypatch):
    monkeypatch.setattr("deblur_tf.sampling.compile_for", lambda model, fn: fn)
    counting = Counting()
    sampler = Sampler(counting)
    condition = sampler.condition(images(0, 1, 13, 16, 3), sample_keys(0, [0]))
    for i in range(3):
        x = sampler.sample(condition, sample_keys(0, [i]), inference_schedule(5))
        assert x.shape == (1, 13, 16, 3)
    assert counting.guided == 1
    assert counting.denoised == 15


def test_the_real_model_guides_once_per_image(model, monkeypatch):
    from deblur_tf.inference.deblurrer import Deblurrer

    calls = []
    original = type(model.guidance).call
    monkeypatch.setattr("deblur_tf.sampling.compile_for", lambda model, fn: fn)
    monkeypatch.setattr(
        type(model.guidance), "call", lambda self, *a: calls.append(1) or original(self, *a)
    )
    picture = np.zeros((16, 16, 3), np.uint8)
    assert Deblurrer(model).samples(picture, steps=3, n_samples=2).shape == (2, 16, 16, 3)
    assert len(calls) == 1


def test_a_sample_depends_on_seed_and_number_not_on_the_batch(model):
    sampler = Sampler(model)
    blurry = images(0, 1, 16, 16, 3).repeat(3, 0)
    schedule = inference_schedule(4)
    together = np.array(sampler(blurry, sample_keys(5, [0, 1, 2]), schedule))
    alone = np.array(sampler(blurry[:1], sample_keys(5, [1]), schedule))
    np.testing.assert_allclose(together[1:2], alone, atol=1e-4)
    assert np.abs(together[0] - together[1]).max() > 1e-2
    other = np.array(sampler(blurry[:1], sample_keys(6, [1]), schedule))
    assert np.abs(other - alone).max() > 1e-2
