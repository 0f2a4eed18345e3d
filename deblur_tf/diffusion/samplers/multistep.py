"""Samplers that combine the current and previous estimates of x_0, x_t and noise linearly.

With l the noise level, sigma^2 = 1 - l^2 and lambda = log(l / sigma), half of the log-SNR,
the linear part of the diffusion is solved exactly over a step h = lambda' - lambda (Lu et
al., 2022b, "DPM-Solver++"); samplers differ in how much noise they add and whether they
extrapolate the estimate of x_0. At the last step sigma' = 0: no noise, no extrapolation.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
from keras import ops

from deblur_tf.base.errors import UsageError
from deblur_tf.base.types import Tensor
from deblur_tf.diffusion.samplers.base import Carry, Denoise, Draw, State, add_noise
from deblur_tf.diffusion.schedules import Schedule

# Columns of the table.
NOISE_LEVEL, SHARP, NOISY, STDDEV, EXTRAPOLATION = range(5)


def level_pairs(schedule: Schedule) -> tuple[Any, Any, Any, Any]:
    """(l, sigma, l', sigma') of each step, [T] each: the levels before and after it.

    Levels are at least `MIN_NOISE_LEVEL`; l' = 1 and sigma' = 0 at t = 1.
    """
    xp, level = schedule.xp, schedule.clipped_levels
    following = xp.concatenate([xp.ones_like(level[:1]), level[:-1]])
    return level, xp.sqrt(1.0 - level**2), following, xp.sqrt(1.0 - following**2)


def extrapolation(schedule: Schedule) -> Any:
    """h / (2 h_before) of each step, [T]: the weight of the difference between the current and
    the previous estimate in DPM-Solver++ (2M). Zero at the first step, which has no previous
    estimate, and at the last.
    """
    xp, (level, sigma, _, _) = schedule.xp, level_pairs(schedule)
    log_snr = xp.log(level) - xp.log(sigma)
    nothing = xp.zeros_like(level[:1])
    step = xp.concatenate([nothing, log_snr[:-1] - log_snr[1:]])  # the last is not used
    before = xp.concatenate([step[1:], nothing])
    moved = before > 0.0  # not between levels that were clipped
    return xp.where(moved, 0.5 * step / xp.where(moved, before, xp.ones_like(step)), nothing)


class _Linear:
    """x' = a D + b x + c noise, with D = x_0 + w (x_0 - previous x_0)."""

    order: ClassVar[int] = 1

    def evaluations(self, steps: int) -> int:
        """One per step."""
        return steps

    def noise(self, schedule: Schedule) -> Any:
        """Standard deviation c of the noise that each step adds, [T]."""
        raise NotImplementedError

    def table(self, schedule: Schedule) -> np.ndarray:
        """float32 [T, 5]: the level, a, b, c and w of each step, for t = 1 ... T."""
        xp = schedule.xp
        level, sigma, following, sigma_after = level_pairs(schedule)
        stddev = self.noise(schedule)
        noisy = xp.sqrt(xp.maximum(sigma_after**2 - stddev**2, 0.0)) / sigma
        weight = extrapolation(schedule) if self.order == 2 else xp.zeros_like(level)
        columns = [level, following - level * noisy, noisy, stddev, weight]
        return xp.asarray(xp.stack(columns, axis=1), "float32")

    def init(self, x: Tensor) -> State:
        """The previous estimate: zero, since the first step gives it no weight."""
        return ops.zeros_like(x) if self.order == 2 else ()

    def step(self, denoise: Denoise, x: Tensor, row: Tensor, noise: Draw, state: State) -> Carry:
        """See `Sampler.step`."""
        target = denoise(x, ops.broadcast_to(row[NOISE_LEVEL], ops.shape(x)[:1])).target
        used = target + row[EXTRAPOLATION] * (target - state) if self.order == 2 else target
        mean = row[SHARP] * used + row[NOISY] * x
        after = add_noise(mean, row[STDDEV], noise)
        return after, target if self.order == 2 else state


def _ancestral(schedule: Schedule) -> Any:
    """Standard deviation of x' given x and x_0: sigma' sqrt(1 - exp(-2 h)), [T]."""
    level, sigma, following, sigma_after = level_pairs(schedule)
    shrink = (level * sigma_after) / (sigma * following)  # exp(-h)
    return sigma_after * schedule.xp.sqrt(schedule.xp.maximum(1.0 - shrink**2, 0.0))


@dataclasses.dataclass(frozen=True)
class DDIM(_Linear):
    """Song et al. (2021), eq. 12 and 16.

    Attributes:
      eta: share of the noise of ancestral sampling: 0 for none, 1 for `DDPM`.
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.eta <= 1.0:
            raise UsageError(f"eta must be in [0, 1], got {self.eta}")

    def noise(self, schedule: Schedule) -> Any:
        """See `_Linear.noise`."""
        return self.eta * _ancestral(schedule)


@dataclasses.dataclass(frozen=True)
class DPMpp2M(_Linear):
    """DPM-Solver++ (2M) (Lu et al., 2022b, algorithm 2): no noise, second order."""

    order: ClassVar[int] = 2

    def noise(self, schedule: Schedule) -> Any:
        """Zero: sampling is deterministic."""
        return schedule.xp.zeros_like(schedule.betas)


@dataclasses.dataclass(frozen=True)
class DPMpp2MSDE(_Linear):
    """DPM-Solver++ (2M) for the SDE, in the midpoint form: ancestral noise."""

    order: ClassVar[int] = 2

    def noise(self, schedule: Schedule) -> Any:
        """See `_Linear.noise`."""
        return _ancestral(schedule)
