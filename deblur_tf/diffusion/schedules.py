"""Noise schedules as pure functions in float64 (DvSR sec. 3 and app. D).

Step indices run from 1 to T as in the papers; arrays over steps hold step t at
position t - 1. The network sees the continuous `noise_level` sqrt(alpha_bar)
in (0, 1], never a step index, so training and inference schedules may differ.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np

from deblur_tf.base.errors import UsageError

# The kinds of schedule that a model may have been trained with.
LINEAR, SPACED = "linear", "stable_diffusion"

# A number of steps: an integer, or an integer tensor inside a graph.
Count = Any

# Log signal-to-noise ratio at which the noise level given to a network is clipped from below:
# there is nothing but noise. An image in [-1, 1] is scaled to 4.5e-5 of its strength there.
MIN_LOG_SNR = -20.0
MIN_NOISE_LEVEL = math.sqrt(1.0 / (1.0 + math.exp(-MIN_LOG_SNR)))


def linear_betas(
    steps: Count = 2000, beta_min: float = 1e-6, beta_max: Any = 0.01, xp: Any = np
) -> Any:
    """beta_t, linear in t (DvSR app. D, "Specifying the noise schedule").

    A single step has beta_max, since it must span the whole schedule.

    Args:
      steps: T, an integer or an integer tensor.
      beta_min: beta_1.
      beta_max: beta_T, a number or a float64 tensor.
      xp: the array module of the result, see `Schedule`.

    Returns:
      float64 [T].

    Raises:
      UsageError: if numbers do not fulfil steps >= 1 and 0 < beta_min <= beta_max < 1; tensors
        are not checked.
    """
    _check_steps(steps)
    if isinstance(beta_max, int | float) and not 0.0 < beta_min <= beta_max < 1.0:
        raise UsageError(f"need 0 < beta_min <= beta_max < 1, got {beta_min} and {beta_max}")
    position, last = _positions(steps, xp)
    betas = position * ((beta_max - beta_min) / xp.maximum(last, 1.0)) + beta_min
    return xp.where(position == last, beta_max, betas)


def _check_steps(steps: Count) -> None:
    if isinstance(steps, int | np.integer) and steps < 1:
        raise UsageError(f"steps must be 1 or more, got {steps}")


def _positions(steps: Count, xp: Any) -> tuple[Any, Any]:
    """0 ... T - 1 in float64, [T], and T - 1."""
    return xp.cumsum(xp.ones((steps,), "float64")) - 1.0, xp.asarray(steps, "float64") - 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class Schedule:
    """Quantities that follow from beta_1 ... beta_T (DvSR eq. 1-2).

    Attributes:
      betas: float64 [T], each in (0, 1).
      xp: the array module of `betas`: NumPy, or one with its interface inside a graph.
    """

    betas: np.ndarray
    xp: Any = np

    @property
    def steps(self) -> int:
        return len(self.betas)

    @functools.cached_property
    def alpha_bars(self) -> np.ndarray:
        """prod_{s<=t} (1 - beta_s), float64 [T]."""
        return self.xp.cumprod(1.0 - self.betas)

    @functools.cached_property
    def noise_levels(self) -> np.ndarray:
        """l_0 = 1 and l_t = sqrt(alpha_bar_t): float64 [T + 1]."""
        return self.xp.sqrt(self._from_1(self.alpha_bars))

    @property
    def clipped_levels(self) -> np.ndarray:
        """l_1 ... l_T as given to a network, at least `MIN_NOISE_LEVEL`: [T].

        A long schedule with large betas ends at levels that float32 cannot hold.
        """
        return self.xp.maximum(self.noise_levels[1:], MIN_NOISE_LEVEL)

    @property
    def pure_noise_steps(self) -> int:
        """How many steps begin below `MIN_LOG_SNR`, where the input is nothing but noise."""
        return int(np.sum(self.noise_levels[1:] < MIN_NOISE_LEVEL))

    def _from_1(self, values: np.ndarray) -> np.ndarray:
        return self.xp.concatenate([self.xp.ones_like(values[:1]), values])

    @functools.cached_property
    def posterior_mean_sharp(self) -> np.ndarray:
        """Weight of x_0 in the posterior mean (DvSR app. D), float64 [T]."""
        previous = self.noise_levels[:-1]
        return previous * self.betas / (1.0 - self.alpha_bars)

    @functools.cached_property
    def posterior_mean_noisy(self) -> np.ndarray:
        """Weight of x_t in the posterior mean, float64 [T].

        sqrt(alpha_t) (1 - alpha_bar_{t-1}) / (1 - alpha_bar_t). DvSR app. D
        prints sqrt(alpha_bar_t) for the first factor: a misprint, since the
        weights must give E[x_{t-1}] = sqrt(alpha_bar_{t-1}) x_0.
        """
        previous = self.noise_levels[:-1] ** 2
        return self.xp.sqrt(1.0 - self.betas) * (1.0 - previous) / (1.0 - self.alpha_bars)

    @functools.cached_property
    def posterior_variance(self) -> np.ndarray:
        """Variance of x_{t-1} given x_t and x_0 (DvSR app. D), float64 [T].

        Zero at t = 1: no noise is added at the last step.
        """
        previous = self.noise_levels[:-1] ** 2
        return (1.0 - previous) / (1.0 - self.alpha_bars) * self.betas


def inference_beta_max(steps: Count, xp: Any = np) -> Any:
    """The smallest beta_max with which `steps` steps still reach pure noise.

    From steps * beta_max / 2 = 5, that is alpha_bar_T near exp(-5): the lower
    edge of the sampling grid of the guided-diffusion paper's Table 12 (20
    steps: 0.5, 100: 0.1, 1000: 0.01). At most 0.9.

    Arguments and errors: see `linear_betas`.
    """
    _check_steps(steps)
    return xp.minimum(10.0 / xp.asarray(steps, "float64"), 0.9)


def inference_schedule(steps: Count, beta_max: Any = None, xp: Any = np) -> Schedule:
    """Linear schedule for sampling; `beta_max` by `inference_beta_max` if None.

    Arguments and errors: see `linear_betas`.
    """
    if beta_max is None:
        beta_max = inference_beta_max(steps, xp)
    return Schedule(linear_betas(steps, 1e-6, beta_max, xp), xp)


def _rounded(x: Any, xp: Any) -> Any:
    """`np.round` for non-negative values, which TensorFlow's array module lacks in a graph."""
    below = xp.floor(x)
    odd = below - 2.0 * xp.floor(below / 2.0)
    return xp.where(x - below == 0.5, below + odd, xp.floor(x + 0.5))  # ties go to the even one


# Stable Diffusion's training schedule (Rombach et al., 2022): sqrt(beta) is linear in t.
STABLE_DIFFUSION_STEPS = 1000
STABLE_DIFFUSION_BETAS = (0.00085, 0.012)


@functools.cache
def stable_diffusion_levels() -> np.ndarray:
    """sqrt(alpha_bar) of timestep 0 to 999: float64 [1000], the last one 0.0683."""
    first, last = STABLE_DIFFUSION_BETAS
    roots = np.linspace(math.sqrt(first), math.sqrt(last), STABLE_DIFFUSION_STEPS)
    return np.sqrt(np.cumprod(1.0 - roots**2))


def spaced_schedule(steps: Count, xp: Any = np) -> Schedule:
    """Stable Diffusion's schedule at `steps` of its timesteps, evenly spaced from 0 to 999.

    As in IDDPM (Nichol and Dhariwal, 2021, sec. 4): beta_t = 1 - ab_t / ab_{t-1} over the
    timesteps that are kept. A single step is at timestep 999.

    Args:
      steps: T, an integer from 1 to 1000 or an integer tensor.
      xp: the array module of the schedule, see `Schedule`.

    Raises:
      UsageError: if an integer is not in that range; a tensor is not checked.
    """
    if isinstance(steps, int | np.integer) and not 1 <= steps <= STABLE_DIFFUSION_STEPS:
        raise UsageError(f"steps must be 1 to {STABLE_DIFFUSION_STEPS} here, got {steps}")
    position, last = _positions(steps, xp)
    position = xp.where(last == 0.0, xp.ones_like(position), position)
    timesteps = _rounded((STABLE_DIFFUSION_STEPS - 1) * position / xp.maximum(last, 1.0), xp)
    levels = xp.asarray(stable_diffusion_levels())
    kept = xp.take(levels, xp.asarray(timesteps, "int32")) ** 2
    previous = xp.concatenate([xp.ones_like(kept[:1]), kept[:-1]])
    return Schedule(1.0 - kept / previous, xp)
