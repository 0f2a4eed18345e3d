"""Heun's method over the log-SNR, where the linear part of the diffusion is solved exactly."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
from keras import ops

from deblur_tf.base.backend import cond
from deblur_tf.base.types import Tensor
from deblur_tf.diffusion.samplers.base import Carry, Denoise, Draw, State
from deblur_tf.diffusion.samplers.multistep import level_pairs
from deblur_tf.diffusion.schedules import Schedule

# Columns of the table.
LEVEL, NEXT_LEVEL, SHARP, NOISY, CHANGE = range(5)


@dataclasses.dataclass(frozen=True)
class Heun:
    """Two evaluations per step, one in the last: second order, no noise.

    With lambda = log(l / sigma) and h = lambda' - lambda, the probability flow gives

      x' = (sigma' / sigma) x + l' int_lambda^lambda' exp(t - lambda') x_0(t) dt

    (Lu et al., 2022b, eq. 8). A step first holds the estimate of x_0 constant, then
    interpolates linearly between the estimates at the start and at the end. Formulated in the
    noise instead of x_0, as in Karras et al. (2022, algorithm 1), the second estimate would be
    divided by sigma', which fails with a network that is inaccurate at low noise.
    """

    order: ClassVar[int] = 2

    def evaluations(self, steps: int) -> int:
        """Two per step, and one for the last."""
        return 2 * steps - 1

    def table(self, schedule: Schedule) -> np.ndarray:
        """float32 [T, 5]: l, l', and the weights of the estimate, of x and of the change of
        the estimate over the step, for t = 1 ... T.
        """
        xp, (level, sigma, following, sigma_after) = schedule.xp, level_pairs(schedule)
        shrink = (level * sigma_after) / (sigma * following)  # exp(-h)
        inner = (sigma_after > 0.0) & (shrink < 1.0)  # not the last, nor between equal levels
        safe = xp.where(inner, shrink, 0.5 * xp.ones_like(shrink))
        change = xp.where(inner, 1.0 + (1.0 - safe) / xp.log(safe), xp.zeros_like(shrink))
        noisy = sigma_after / sigma
        columns = [level, following, following * (1.0 - shrink), noisy, following * change]
        return xp.asarray(xp.stack(columns, axis=1), "float32")

    def init(self, x: Tensor) -> State:
        """There is no state."""
        del x
        return ()

    def step(self, denoise: Denoise, x: Tensor, row: Tensor, noise: Draw, state: State) -> Carry:
        """See `Sampler.step`; `noise` is not used."""
        del noise

        def estimate(x: Tensor, level: Tensor) -> Tensor:
            return denoise(x, ops.broadcast_to(level, ops.shape(x)[:1])).target

        here = estimate(x, row[LEVEL])
        euler = row[SHARP] * here + row[NOISY] * x

        def corrected() -> Tensor:
            return euler + row[CHANGE] * (estimate(euler, row[NEXT_LEVEL]) - here)

        return cond(row[CHANGE] > 0.0, corrected, lambda: euler), state
