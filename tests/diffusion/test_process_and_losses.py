import numpy as np
import pytest

from deblur_tf.diffusion import losses, process
from deblur_tf.diffusion.outputs import Estimate
from deblur_tf.diffusion.samplers import DDPM
from deblur_tf.diffusion.schedules import Schedule, inference_schedule, linear_betas
from tests.support.helpers import images

SHAPE = (3, 5, 4, 2)


def case():
    return images(0, *SHAPE), images(1, *SHAPE), np.array([0.2, 0.7, 0.999], "float32")


def test_q_sample_matches_its_numpy_twin():
    sharp, noise, level = case()
    want = [
        level_i * sharp_i + np.sqrt(1 - float(level_i) ** 2) * noise_i
        for sharp_i, noise_i, level_i in zip(sharp, noise, level, strict=True)
    ]
    np.testing.assert_allclose(process.q_sample(sharp, noise, level), want, atol=1e-6)


def test_conversions_undo_each_other():
    sharp, noise, level = case()
    noisy = process.q_sample(sharp, noise, level)
    np.testing.assert_allclose(process.predict_sharp(noisy, noise, level), sharp, atol=1e-5)


def test_posterior_matches_bayes():
    """N(x_{t-1}; sqrt(ab) x_0, 1 - ab) N(x_t; sqrt(alpha) x_{t-1}, beta), normalised."""
    schedule = Schedule(linear_betas(10, 1e-6, 0.4))
    sharp, noisy, noise = (images(seed, *SHAPE) for seed in range(3))
    sampler = DDPM()
    table = sampler.table(schedule)
    for t in range(2, 11):
        ab = schedule.alpha_bars[t - 2]
        beta = schedule.betas[t - 1]
        precision = 1 / (1 - ab) + (1 - beta) / beta
        want = (np.sqrt(ab) / (1 - ab) * sharp + np.sqrt(1 - beta) / beta * noisy) / precision

        def knows(x, level):
            return Estimate(sharp, 0.0 * x)

        drawn, _ = sampler.step(knows, noisy, table[t - 1], lambda: noise, ())
        np.testing.assert_allclose(drawn, want + np.sqrt(1 / precision) * noise, atol=2e-6)


def test_noise_levels_are_piecewise_uniform():
    levels = Schedule(linear_betas(4, 1e-6, 0.8)).noise_levels.astype("float32")
    rng = np.random.default_rng(0)
    choice, fraction = rng.uniform(size=(2, 40_000)).astype("float32")
    drawn = np.array(process.sample_noise_level(levels, choice, fraction))
    assert levels[-1] <= drawn.min()
    assert drawn.max() <= 1.0
    # Each interval equally often, and uniform inside it.
    counts, _ = np.histogram(drawn, np.sort(levels))
    np.testing.assert_allclose(counts / 40_000, 0.25, atol=0.01)
    inside = drawn[(levels[2] < drawn) & (drawn < levels[1])]
    assert inside.mean() == pytest.approx((levels[1] + levels[2]) / 2, abs=0.005)


def test_noise_level_twin_and_edges():
    levels = Schedule(linear_betas(5, 1e-6, 0.5)).noise_levels.astype("float32")
    choice = np.array([0.0, 0.39, 0.999999], "float32")
    fraction = np.array([0.0, 0.25, 1.0], "float32")
    want = [
        levels[i + 1] + f * (levels[i] - levels[i + 1])
        for i, f in zip((0, 1, 4), fraction, strict=True)
    ]
    drawn = process.sample_noise_level(levels, choice, fraction)
    np.testing.assert_allclose(drawn, want, rtol=1e-6)


def test_losses_match_their_numpy_twins():
    a, b = images(0, *SHAPE), images(1, *SHAPE)
    want = np.abs(a.astype("float64") - b).reshape(3, -1).mean(1)
    np.testing.assert_allclose(losses.denoising_l1(a, b), want, rtol=1e-6)
    small = (a[:, :2, :2], b[:, :2, :2])
    squares = [((x - y).astype("float64") ** 2).reshape(3, -1).mean(1) for x, y in ((a, b), small)]
    got = losses.multiscale_regression([a, small[0]], [b, small[1]])
    np.testing.assert_allclose(got, np.mean(squares, axis=0), rtol=1e-6)


def test_regression_needs_matching_scales():
    a = images(0, *SHAPE)
    for predictions, targets in (([], []), ([a], [a, a])):
        with pytest.raises(ValueError, match="predictions"):
            losses.multiscale_regression(predictions, targets)


@pytest.mark.parametrize(("step", "weight"), [(0, 0.0), (15_000, 0.25), (60_000, 1.0), (10**6, 1)])
def test_warm_start(step, weight):
    assert float(losses.warm_start_weight(step, 60_000)) == pytest.approx(weight)
    assert float(losses.warm_start_weight(step, 0)) == 1.0


def test_inference_schedule_takes_a_given_beta_max():
    assert inference_schedule(30, 0.2).betas[-1] == 0.2
