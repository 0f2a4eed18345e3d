"""Noise schedules as pure functions in float64 (DvSR sec. 3 and app. D).

Step indices run from 1 to T as in the papers; arrays over steps hold step t at
position t - 1. The network sees the continuous `noise_level` sqrt(alpha_bar)
in (0, 1], never a step index, so training and inference schedules may differ.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from deblur_tf.errors import UsageError
from deblur_tf.registry import configurable

# The log signal-to-noise ratio below which a network is told the same: there is nothing
# but noise. An image in [-1, 1] has 4.5e-5 of its strength left.
MIN_LOG_SNR = -20.0
MIN_NOISE_LEVEL = math.sqrt(1.0 / (1.0 + math.exp(-MIN_LOG_SNR)))


def linear_betas(steps: int = 2000, beta_min: float = 1e-6, beta_max: float = 0.01) -> np.ndarray:
    """beta_t, linear in t (DvSR app. D, "Specifying the noise schedule").

    A single step has beta_max, since it must span the whole schedule.

    Returns:
      float64 [T].

    Raises:
      UsageError: if steps < 1 or not 0 < beta_min <= beta_max < 1.
    """
    if steps < 1:
        raise UsageError(f"steps must be 1 or more, got {steps}")
    if not 0.0 < beta_min <= beta_max < 1.0:
        raise UsageError(f"need 0 < beta_min <= beta_max < 1, got {beta_min} and {beta_max}")
    if steps == 1:
        beta_min = beta_max
    return np.linspace(beta_min, beta_max, steps, dtype=np.float64)


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
    def seen_levels(self) -> np.ndarray:
        """l_1 ... l_T as a network is told them: from `MIN_NOISE_LEVEL` on, [T].

        A long schedule with large betas ends at levels that float32 cannot hold.
        """
        return self.xp.maximum(self.noise_levels[1:], MIN_NOISE_LEVEL)

    @property
    def blind_steps(self) -> int:
        """How many steps begin below `MIN_LOG_SNR`, where there is nothing to be seen."""
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


def inference_beta_max(steps: int) -> float:
    """The gentlest beta_max with which `steps` steps still reach pure noise.

    From steps * beta_max / 2 = 5, that is alpha_bar_T near exp(-5): the lower
    edge of the sampling grid of the guided-diffusion paper's Table 12 (20
    steps: 0.5, 100: 0.1, 1000: 0.01). At most 0.9.
    """
    if steps < 1:
        raise UsageError(f"steps must be 1 or more, got {steps}")
    return min(10.0 / steps, 0.9)


def inference_schedule(steps: int, beta_max: float | None = None) -> Schedule:
    """Linear schedule for sampling; `beta_max` by `inference_beta_max` if None."""
    if beta_max is None:
        beta_max = inference_beta_max(steps)
    return Schedule(linear_betas(steps, 1e-6, beta_max))


# Stable Diffusion's training schedule (Rombach et al., 2022): sqrt(beta) is linear in t.
STABLE_DIFFUSION_STEPS = 1000
STABLE_DIFFUSION_BETAS = (0.00085, 0.012)


@functools.cache
def stable_diffusion_levels() -> np.ndarray:
    """sqrt(alpha_bar) of timestep 0 to 999: float64 [1000], the last one 0.0683."""
    first, last = STABLE_DIFFUSION_BETAS
    roots = np.linspace(math.sqrt(first), math.sqrt(last), STABLE_DIFFUSION_STEPS)
    return np.sqrt(np.cumprod(1.0 - roots**2))


def spaced_schedule(steps: int) -> Schedule:
    """Stable Diffusion's schedule at so many of its timesteps, evenly spaced from 0 to 999.

    As in IDDPM (Nichol and Dhariwal, 2021, sec. 4): beta_t = 1 - ab_t / ab_{t-1} of the
    timesteps that are left. One step is the last of them.

    Raises:
      UsageError: if steps is not 1 to 1000.
    """
    if not 1 <= steps <= STABLE_DIFFUSION_STEPS:
        raise UsageError(f"steps must be 1 to {STABLE_DIFFUSION_STEPS} here, got {steps}")
    position = np.arange(steps) if steps > 1 else np.ones(1)
    timesteps = np.round((STABLE_DIFFUSION_STEPS - 1) * position / max(steps - 1, 1))
    kept = stable_diffusion_levels()[timesteps.astype(int)] ** 2
    return Schedule(1.0 - kept / np.concatenate([[1.0], kept[:-1]]))


# Names of the schedules that a model may have been trained with.
LINEAR, SPACED = "linear", "stable_diffusion"


@configurable
@dataclasses.dataclass(frozen=True)
class SamplingSettings:
    """How to sample from a model; each model carries those that suit it best.

    Attributes:
      steps: sampling steps, one network evaluation each.
      beta_max: largest noise variance of a step; None: `inference_beta_max(steps)`.
      n_samples: samples that are averaged.
      sampler: name of one of `samplers.SAMPLERS`.
      eta: of the sampler "ddim", see there.
    """

    steps: int = 20
    beta_max: float | None = None
    n_samples: int = 1
    sampler: str = "ddpm"
    eta: float = 0.0

    def __post_init__(self) -> None:
        if self.n_samples < 1:
            raise UsageError(f"n_samples must be 1 or more, got {self.n_samples}")
        self.schedule()

    def schedule(self, betas: str = LINEAR) -> Schedule:
        """The schedule to sample over.

        Args:
          betas: what the model was trained with: LINEAR, or SPACED, which has no beta_max.

        Raises:
          UsageError: if there is none for these settings.
        """
        if betas == SPACED:
            if self.beta_max is not None:
                raise UsageError("the schedule of this model is fixed: it has no beta_max")
            return spaced_schedule(self.steps)
        return inference_schedule(self.steps, self.beta_max)

    def describe(self, betas: str = LINEAR) -> str:
        """One phrase, with a word on steps that are wasted; see `schedule`."""
        schedule = self.schedule(betas)
        text = f"{self.steps} step(s) of {self.sampler}, beta_max {schedule.betas[-1]:g}, "
        if betas == SPACED:
            text = f"{self.steps} of {STABLE_DIFFUSION_STEPS} steps, {self.sampler}, "
        text += f"{self.n_samples} sample(s)"
        if schedule.blind_steps:
            text += (
                f"; {schedule.blind_steps} of the steps see nothing but noise (log-SNR below "
                f"{MIN_LOG_SNR:g}): a smaller beta_max spends them better"
            )
        return text

    def but(
        self,
        steps: int | None = None,
        beta_max: float | None = None,
        n_samples: int | None = None,
        sampler: str | None = None,
        eta: float | None = None,
    ) -> SamplingSettings:
        """These settings with what is given in their place.

        Another number of steps also wants another beta_max: the one fitted to it.
        """
        if beta_max is None and steps in (None, self.steps):
            beta_max = self.beta_max
        return SamplingSettings(
            self.steps if steps is None else steps,
            beta_max,
            self.n_samples if n_samples is None else n_samples,
            self.sampler if sampler is None else sampler,
            # Another sampler has no eta unless it is given.
            (self.eta if sampler in (None, self.sampler) else 0.0) if eta is None else eta,
        )


# What a model is sampled with that says nothing else.
DEFAULT_SAMPLING = SamplingSettings()


def sampling_grid(
    steps: Sequence[int],
    beta_maxes: Sequence[float],
    low: float = 0.0,
    high: float = math.inf,
) -> tuple[tuple[int, float], ...]:
    """Combinations (steps, beta_max) with low <= steps * beta_max / 2 <= high.

    -steps * beta_max / 2 is about log(alpha_bar_T): below 5 sampling would not
    start from pure noise, above 50 most steps would be spent in it. With these
    two bounds the rule gives each row of icDPM's Table 12 its printed number of
    marks.
    """
    return tuple(
        (t, beta) for t in steps for beta in beta_maxes if low <= round(t * beta / 2, 9) <= high
    )
