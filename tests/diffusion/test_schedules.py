import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deblur_tf.diffusion import schedules


def test_training_schedule_ends_and_dtype():
    betas = schedules.linear_betas()
    assert betas.dtype == np.float64
    assert len(betas) == 2000
    assert betas[0] == 1e-6
    assert betas[-1] == 0.01
    np.testing.assert_allclose(np.diff(betas), (0.01 - 1e-6) / 1999, rtol=1e-9)


def test_alpha_bar_is_the_running_product():
    schedule = schedules.Schedule(schedules.linear_betas(50, 1e-6, 0.2))
    product = 1.0
    for beta, alpha_bar in zip(schedule.betas, schedule.alpha_bars, strict=True):
        product *= 1.0 - beta
        assert alpha_bar == pytest.approx(product, rel=1e-14)
    assert schedule.noise_levels[0] == 1.0
    np.testing.assert_allclose(schedule.noise_levels[1:] ** 2, schedule.alpha_bars)


@settings(max_examples=50, deadline=None)
@given(steps=st.integers(2, 300), beta_max=st.floats(0.001, 0.9))
def test_posterior_is_consistent_with_the_marginals(steps, beta_max):
    """If x_t follows its marginal, so must x_{t-1} drawn from the posterior."""
    s = schedules.Schedule(schedules.linear_betas(steps, 1e-6, beta_max))
    signal = s.noise_levels
    mean = s.posterior_mean_sharp + s.posterior_mean_noisy * signal[1:]
    np.testing.assert_allclose(mean, signal[:-1], rtol=1e-9)
    variance = s.posterior_mean_noisy**2 * (1 - signal[1:] ** 2) + s.posterior_variance
    np.testing.assert_allclose(variance, 1 - signal[:-1] ** 2, atol=1e-12)


def test_last_step_returns_the_estimate_without_noise():
    s = schedules.inference_schedule(20)
    assert s.posterior_variance[0] == 0.0
    assert s.posterior_mean_noisy[0] == 0.0
    assert s.posterior_mean_sharp[0] == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize(("steps", "beta_max"), [(20, 0.5), (100, 0.1), (1000, 0.01), (5, 0.9)])
def test_default_beta_max_reaches_noise(steps, beta_max):
    assert schedules.inference_beta_max(steps) == pytest.approx(beta_max)


def test_one_step_spans_the_schedule():
    assert schedules.linear_betas(1, 1e-6, 0.5).tolist() == [0.5]


@pytest.mark.parametrize("bad", [(0, 1e-6, 0.1), (5, 0.0, 0.1), (5, 0.2, 0.1), (5, 0.1, 1.0)])
def test_bad_schedules_are_refused(bad):
    with pytest.raises(ValueError, match="must be|need"):
        schedules.linear_betas(*bad)
