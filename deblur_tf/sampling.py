"""Wires a conditional diffusion model to a sampler: guidance once, then steps.

Backend-neutral: each part is compiled by the backend in use. A model is any
`deblur_tf.models.restorer.Restorer`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from deblur_tf import image_ops, noise
from deblur_tf.diffusion import samplers
from deblur_tf.models.restorer import Restorer
from deblur_tf.schedules import Schedule

Tensor = Any

# Streams of noise drawn from one key; step t of the sampler folds in t.
GUIDANCE_STREAM = 1
SAMPLER_STREAM = 2


def compile_for(model: keras.Model, fn: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function of tensors that uses the model's current weights."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(fn, autograph=False, reduce_retracing=True)
    if backend == "jax":
        import jax

        @jax.jit
        def pure(values: Sequence[Any], *args: Any) -> Any:
            mapping = list(zip(model.variables, values, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                return fn(*args)

        return lambda *args: pure([v.value for v in model.variables], *args)
    return fn


def sample_keys(seed: int | Tensor, samples: Sequence[int] | Tensor) -> Tensor:
    """One key per sample number: uint32 [B, 2].

    A key depends on the seed and the number alone, so sample 3 is the same
    picture whether it was drawn alone or in a batch.
    """
    key = noise.make_key(seed)
    return noise.fold_in(key[None], ops.convert_to_tensor(samples, dtype="int32"))


def guidance_noise(
    keys: Tensor, scales: Sequence[int], height: Tensor, width: Tensor
) -> tuple[Tensor, ...]:
    """Standard normal noise for phi_k (eq. 1): [B, H / 2^k, W / 2^k, 1] each."""
    stream = noise.fold_in(keys, GUIDANCE_STREAM)
    return tuple(
        noise.normal(noise.fold_in(stream, k), height // 2**k, width // 2**k, 1) for k in scales
    )


class Condition(NamedTuple):
    """What is known of a batch of blurry images before sampling.

    Attributes:
      blurry: float32 [B, H', W', 3], padded.
      guidance: what `model.guide` returned for it: features or a prediction.
      height, width: the size before padding.
    """

    blurry: Tensor
    guidance: Any
    height: int
    width: int


class Sampler:
    """Draws sharp images for blurry ones.

    Args:
      model: see the module docstring.
    """

    def __init__(self, model: Restorer):
        self.model = model
        self._guide = compile_for(model, self.guide)
        self._step = compile_for(model, self.step)

    def guide(self, blurry: Tensor, keys: Tensor) -> Any:
        """The guidance of padded images; float32 [B, H, W, 3], uint32 [B, 2]."""
        shape = ops.shape(blurry)
        scales = self.model.guidance_scales
        return self.model.guide(blurry, guidance_noise(keys, scales, shape[1], shape[2]))

    def start(self, blurry: Tensor, keys: Tensor, steps: int | Tensor) -> Tensor:
        """x_T: pure noise, float32 [B, H, W, 3]."""
        return self._noise(blurry, keys, steps)

    def step(
        self,
        noisy: Tensor,
        row: Tensor,
        t: Tensor,
        blurry: Tensor,
        guidance: Any,
        keys: Tensor,
    ) -> Tensor:
        """x_t -> x_{t-1}; `row` is that of `samplers.ddpm_table` for t."""

        def denoise(noisy: Tensor, noise_level: Tensor) -> Tensor:
            return self.model.denoise(noisy, noise_level, blurry, guidance)

        def limit(target: Tensor) -> Tensor:
            image = samplers.to_image_range(self.model.to_image(target, guidance))
            return self.model.to_target(image, guidance)

        return samplers.ddpm_step(denoise, noisy, row, self._noise(blurry, keys, t - 1), limit)

    def _noise(self, like: Tensor, keys: Tensor, t: int | Tensor) -> Tensor:
        shape = ops.shape(like)
        stream = noise.fold_in(noise.fold_in(keys, SAMPLER_STREAM), t)
        return noise.normal(stream, shape[1], shape[2], 3)

    def condition(self, blurry: np.ndarray | Tensor, keys: Tensor) -> Condition:
        """Pads the images and computes their guidance: once per image.

        Args:
          blurry: float32 [B, H, W, 3] in [-1, 1], any H and W.
          keys: uint32 [B, 2], from `sample_keys`.
        """
        blurry = ops.convert_to_tensor(blurry, dtype="float32")
        height, width = blurry.shape[1:3]
        padded = image_ops.pad_to_multiple(blurry, self.model.size_multiple)
        return Condition(padded, self._guide(padded, keys), height, width)

    def sample(
        self,
        condition: Condition,
        keys: Tensor,
        schedule: Schedule,
        on_step: Callable[[int], None] | None = None,
    ) -> Tensor:
        """One sample per image; call it again with other keys for more.

        Args:
          condition: from `condition`.
          keys: uint32 [B, 2], from `sample_keys`.
          schedule: inference schedule.
          on_step: called after each step with the number of steps done.

        Returns:
          float32 [B, H, W, 3], not yet clipped to [-1, 1].
        """
        table = samplers.ddpm_table(schedule)
        x = self.start(condition.blurry, keys, schedule.steps)
        for t in range(self.model.sampling_steps(schedule.steps), 0, -1):
            row = ops.convert_to_tensor(table[t - 1])
            index = ops.convert_to_tensor(t, dtype="int32")
            x = self._step(x, row, index, condition.blurry, condition.guidance, keys)
            if on_step is not None:
                on_step(schedule.steps - t + 1)
        image = self.model.to_image(x, condition.guidance)
        return image_ops.crop(image, condition.height, condition.width)

    def __call__(self, blurry: np.ndarray | Tensor, keys: Tensor, schedule: Schedule) -> Tensor:
        """`sample` for `condition`: float32 [B, H, W, 3] for the same."""
        return self.sample(self.condition(blurry, keys), keys, schedule)
