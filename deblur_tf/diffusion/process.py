"""Forward process and conversions, in terms of the noise level (DvSR sec. 3).

`noise_level` is sqrt(alpha_bar), [B]; images are [B, H, W, C].
"""

from __future__ import annotations

from keras import ops

from deblur_tf.base.types import Tensor


def per_pixel(noise_level: Tensor) -> tuple[Tensor, Tensor]:
    """(signal, sigma), each [B, 1, 1, 1]: sqrt(ab) and sqrt(1 - ab)."""
    level = noise_level[:, None, None, None]
    return level, ops.sqrt(1.0 - level * level)


def q_sample(sharp: Tensor, noise: Tensor, noise_level: Tensor) -> Tensor:
    """x_t = sqrt(ab) x_0 + sqrt(1 - ab) noise (DvSR eq. 2 and 5)."""
    signal, sigma = per_pixel(noise_level)
    return signal * sharp + sigma * noise


def predict_sharp(noisy: Tensor, noise: Tensor, noise_level: Tensor) -> Tensor:
    """x_0 = (x_t - sqrt(1 - ab) noise) / sqrt(ab): eq. 2 solved for x_0.

    Needs noise_level > 0; schedules stop at `schedules.MIN_NOISE_LEVEL`.
    """
    signal, sigma = per_pixel(noise_level)
    return (noisy - sigma * noise) / signal


def sample_noise_level(schedule_levels: Tensor, choice: Tensor, fraction: Tensor) -> Tensor:
    """Continuous noise level from a piecewise uniform density (DvSR app. D).

    Picks interval i in 1 ... T, then a level uniform in [l_i, l_{i-1}].

    Args:
      schedule_levels: l_0 ... l_T, float32 [T + 1] (`Schedule.noise_levels`).
      choice: uniform (0, 1) draws [B] that pick the interval.
      fraction: uniform (0, 1) draws [B] that pick the place inside it.

    Returns:
      float32 [B], in [l_T, 1].
    """
    steps = schedule_levels.shape[0] - 1
    i = ops.clip(ops.cast(choice * steps, "int32"), 0, steps - 1)
    upper = ops.take(schedule_levels, i)
    lower = ops.take(schedule_levels, i + 1)
    return lower + fraction * (upper - lower)
