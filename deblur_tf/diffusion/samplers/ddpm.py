"""Ancestral sampling, as both papers do it (DvSR Algorithm 1 and app. D)."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
from keras import ops

from deblur_tf.base.types import Tensor
from deblur_tf.diffusion.samplers.base import Carry, Denoise, Draw, State, add_noise
from deblur_tf.diffusion.schedules import Schedule

# Columns of the table.
NOISE_LEVEL, MEAN_SHARP, MEAN_NOISY, STDDEV = range(4)


@dataclasses.dataclass(frozen=True)
class DDPM:
    """x_{t-1} drawn from the posterior of x_t and the estimate of x_0."""

    order: ClassVar[int] = 1

    def evaluations(self, steps: int) -> int:
        """One per step."""
        return steps

    def table(self, schedule: Schedule) -> np.ndarray:
        """float32 [T, 4]: sqrt(ab_t), the posterior mean's weights of x_0 and x_t, and
        the posterior's standard deviation, for t = 1 ... T.
        """
        xp = schedule.xp
        columns = [
            schedule.clipped_levels,
            schedule.posterior_mean_sharp,
            schedule.posterior_mean_noisy,
            xp.sqrt(schedule.posterior_variance),
        ]
        return xp.asarray(xp.stack(columns, axis=1), "float32")

    def init(self, x: Tensor) -> State:
        """There is no state."""
        del x
        return ()

    def step(self, denoise: Denoise, x: Tensor, row: Tensor, noise: Draw, state: State) -> Carry:
        """x_t -> x_{t-1}; noise has no effect at t = 1, where the variance is zero."""
        level = ops.broadcast_to(row[NOISE_LEVEL], ops.shape(x)[:1])
        estimate = denoise(x, level)
        mean = row[MEAN_SHARP] * estimate.target + row[MEAN_NOISY] * x
        return add_noise(mean, row[STDDEV], noise), state
