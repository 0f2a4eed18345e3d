"""Samplers: from noise to an image, given only a denoise function.

A sampler knows no network. It calls `denoise(noisy, noise_level)`, which
returns the predicted noise, [B, H, W, C] and [B] -> [B, H, W, C], and
`noise(t)`, which returns standard normal noise [B, H, W, C] for step t; x_T is
`noise(T)`, and `noise(t - 1)` enters on the way from x_t to x_{t-1}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from deblur_tf.schedules import Schedule

Tensor = Any
Denoise = Callable[[Tensor, Tensor], Tensor]
Limit = Callable[[Tensor], Tensor]

# Columns of a sampling table.
NOISE_LEVEL, SIGMA, MEAN_SHARP, MEAN_NOISY, STDDEV = range(5)


def to_image_range(sharp: Tensor) -> Tensor:
    """Clips an estimate of the sharp image to [-1, 1]."""
    return ops.clip(sharp, -1.0, 1.0)


def ddpm_table(schedule: Schedule) -> np.ndarray:
    """What ancestral sampling needs to know of each step (DvSR app. D).

    Returns:
      float32 [T, 5]; row t - 1 holds sqrt(ab_t), sqrt(1 - ab_t), the posterior
      mean's weights of x_0 and of x_t, and the posterior standard deviation.
    """
    columns = [
        schedule.noise_levels[1:],
        np.sqrt(1.0 - schedule.alpha_bars),
        schedule.posterior_mean_sharp,
        schedule.posterior_mean_noisy,
        np.sqrt(schedule.posterior_variance),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def ddpm_step(
    denoise: Denoise,
    noisy: Tensor,
    row: Tensor,
    noise: Tensor,
    limit: Limit = to_image_range,
) -> Tensor:
    """x_t -> x_{t-1} by the posterior (DvSR Algorithm 1 and app. D).

    Args:
      denoise: see the module docstring.
      noisy: x_t, float32 [B, H, W, C].
      row: row t - 1 of `ddpm_table`, float32 [5].
      noise: standard normal noise of the shape of `noisy`; it has no effect at
        t = 1, where the posterior's variance is zero.
      limit: applied to the estimate of x_0; in the papers a clip to [-1, 1].

    Returns:
      x_{t-1}, float32 [B, H, W, C].
    """
    level = ops.broadcast_to(row[NOISE_LEVEL], ops.shape(noisy)[:1])
    predicted = denoise(noisy, level)
    sharp = (noisy - row[SIGMA] * predicted) / row[NOISE_LEVEL]
    mean = row[MEAN_SHARP] * limit(sharp) + row[MEAN_NOISY] * noisy
    return mean + row[STDDEV] * noise


def ddpm_sample(
    denoise: Denoise,
    noise: Callable[[int], Tensor],
    schedule: Schedule,
    limit: Limit = to_image_range,
    on_step: Callable[[int], None] | None = None,
) -> Tensor:
    """Ancestral sampling over any inference schedule (DvSR Algorithm 1).

    Args:
      denoise, noise: see the module docstring.
      schedule: inference schedule; its length is the number of denoise calls.
      limit: see `ddpm_step`.
      on_step: called after each step with the number of steps done.

    Returns:
      x_0, float32 [B, H, W, C].
    """
    table = ddpm_table(schedule)
    x = noise(schedule.steps)
    for t in range(schedule.steps, 0, -1):
        x = ddpm_step(denoise, x, ops.convert_to_tensor(table[t - 1]), noise(t - 1), limit)
        if on_step is not None:
            on_step(schedule.steps - t + 1)
    return x
