"""Draws several samples of several images, some of them at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from keras import ops

from deblur_tf.base.errors import NonFiniteError
from deblur_tf.base.types import Tensor
from deblur_tf.diffusion.schedules import Schedule
from deblur_tf.models.restoration import Restoration, sample_keys


def draw_samples(
    restoration: Restoration,
    images: np.ndarray,
    seeds: Sequence[int],
    schedule: Schedule,
    n_samples: int,
    at_once: int = 1,
    on_step: Callable[[float], object] | None = None,
) -> np.ndarray:
    """Samples of each image; the condition, guidance included, is computed once.

    Args:
      restoration: the model and its sampler.
      images: float32 [B, H, W, 3] in [-1, 1].
      seeds: a 64-bit integer for each image. Sample i of an image depends on the image, its seed
        and i alone.
      schedule: inference schedule.
      n_samples: number of samples of each image.
      at_once: samples of each image that are computed in one batch.
      on_step: called with the number of steps done, which reaches n_samples * steps.

    Returns:
      float32 [n_samples, B, H, W, 3] in [-1, 1].

    Raises:
      NonFiniteError: if a sample is not finite.
    """
    prepared = restoration.prepare(images, _keys(seeds, range(1)))
    found = []
    for first in range(0, n_samples, at_once):
        numbers = range(first, min(first + at_once, n_samples))

        def progress(
            done: float, before: int = first * schedule.steps, count: int = len(numbers)
        ) -> None:
            if on_step is not None:
                on_step(before + count * done)

        samples = restoration.sample(
            prepared.repeated(len(numbers)),
            _keys(seeds, numbers),
            schedule,
            None if on_step is None else progress,
        )
        samples = np.clip(ops.convert_to_numpy(samples), -1.0, 1.0)
        if not np.isfinite(samples).all():
            raise NonFiniteError(
                f"the result is not finite with {schedule.steps} step(s) of beta_max "
                f"{schedule.betas[-1]:g}: the model's weights are damaged, or these settings "
                "do not suit it; try the model's own, without --steps and --beta_max"
            )
        found.append(samples.reshape(len(numbers), *images.shape))
    return np.concatenate(found)


def _keys(seeds: Sequence[int], numbers: Sequence[int]) -> Tensor:
    """Keys of the numbered samples of several images: uint32 [samples * images, 2]."""
    return ops.concatenate([sample_keys(seed, [i]) for i in numbers for seed in seeds])
