"""Heun's method on the probability flow (Karras et al., 2022, algorithm 1 without churn)."""

from __future__ import annotations

import dataclasses

import numpy as np
from keras import ops

from deblur_tf.diffusion.samplers.base import Carry, Denoise, State
from deblur_tf.diffusion.samplers.multistep import level_pairs
from deblur_tf.diffusion.schedules import Schedule
from deblur_tf.types import Tensor

LEVEL, SIGMA, NEXT_LEVEL, NEXT_SIGMA = range(4)


@dataclasses.dataclass(frozen=True)
class Heun:
    """Two evaluations a step, one at the last: second order.

    In x / l over sigma / l the flow's slope is the predicted noise. A step goes along the
    slope here, and again along the mean of this slope and that found there.
    """

    def table(self, schedule: Schedule) -> np.ndarray:
        """float32 [T, 4]: l, sigma and the next l and sigma, for t = 1 ... T."""
        xp = schedule.xp
        return xp.asarray(xp.stack(level_pairs(schedule), axis=1), "float32")

    def init(self, x: Tensor) -> State:
        """Nothing is remembered."""
        del x
        return ()

    def step(self, denoise: Denoise, x: Tensor, row: Tensor, noise: Tensor, state: State) -> Carry:
        """See `Sampler.step`; `noise` is not used."""
        del noise
        level, sigma, following, sigma_after = (row[i] for i in range(4))

        def estimate(x: Tensor, level: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
            """The estimate of x_0, and the noise that it leaves."""
            target = denoise(x, ops.broadcast_to(level, ops.shape(x)[:1])).target
            return target, (x - level * target) / sigma

        target, slope = estimate(x, level, sigma)
        euler = following * target + sigma_after * slope

        def corrected() -> Tensor:
            _, there = estimate(euler, following, sigma_after)
            half = 0.5 * (sigma_after - sigma * following / level)
            return euler + half * (there - slope)

        return ops.cond(sigma_after > 0.0, corrected, lambda: euler), state
