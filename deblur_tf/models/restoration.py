"""Restores blurry images of any size with a model and a sampler.

Backend-neutral: each part is compiled by the backend in use. Images are padded here, and
nowhere else, to sizes that the model takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from deblur_tf.base.backend import compiled
from deblur_tf.base.types import Tensor
from deblur_tf.diffusion import samplers
from deblur_tf.diffusion.outputs import Estimate
from deblur_tf.diffusion.samplers.base import Body, Loop
from deblur_tf.diffusion.schedules import Schedule
from deblur_tf.models.restorer import RegressionRestorer, Restorer
from deblur_tf.numerics import image_ops, noise

# Streams of noise drawn from one key; step t of the sampler folds in t.
GUIDANCE_STREAM = 1
SAMPLER_STREAM = 2


def sample_keys(seed: int | Tensor, samples: Sequence[int] | Tensor) -> Tensor:
    """One key per sample number: uint32 [B, 2].

    A key depends on the seed and the number alone, so sample 3 is the same
    picture whether it was drawn alone or in a batch. A tensor of seeds, [B], gives each
    sample its own seed.
    """
    keys = ops.reshape(noise.make_key(seed), (-1, 2))
    return noise.fold_in(keys, ops.convert_to_tensor(samples, dtype="int32"))


def guidance_noise(
    model: Restorer,
    keys: Tensor,
    height: Tensor,
    width: Tensor,
    origin: tuple[Tensor, Tensor] = (0, 0),
) -> tuple[Tensor, ...]:
    """Standard normal noise for phi_k (icDPM eq. 1): [B, H / 2^k, W / 2^k, C] each.

    `origin` is the position of the first pixel in a larger image, see `noise.normal`.
    """
    stream = noise.fold_in(keys, GUIDANCE_STREAM)
    return tuple(
        noise.normal(
            noise.fold_in(stream, k),
            height // 2**k,
            width // 2**k,
            model.guidance_channels,
            (origin[0] // 2**k, origin[1] // 2**k),
        )
        for k in model.guidance_scales
    )


class Prepared(NamedTuple):
    """A batch of blurry images, ready to be sampled.

    Attributes:
      condition: the model's condition of the padded images.
      height, width: the size before padding.
    """

    condition: Any
    height: int
    width: int

    def repeated(self, count: int) -> Prepared:
        """The batch `count` times, one after the other."""
        if count == 1:
            return self
        condition = keras.tree.map_structure(
            lambda x: None if x is None else ops.concatenate([x] * count), self.condition
        )
        return self._replace(condition=condition)


class Restoration:
    """Draws sharp images for blurry ones.

    Args:
      model: a built restorer.
      sampler: how to sample a diffusion model; None: `DDPM`. A regression model ignores it.
    """

    def __init__(self, model: Restorer, sampler: samplers.Sampler | None = None):
        self.model = model
        self.sampler = samplers.DDPM() if sampler is None else sampler
        self._body = samplers.step_function(self.sampler, self._denoise, self._noise)
        self._compiled_condition = compiled(model, self.condition)
        self._compiled_body = compiled(model, self._body)
        self._compiled_image = compiled(model, self.image)

    def condition(self, blurry: Tensor, keys: Tensor) -> Any:
        """The condition of padded images; float32 [B, H, W, 3], uint32 [B, 2]."""
        shape = ops.shape(blurry)
        return self.model.condition(blurry, guidance_noise(self.model, keys, shape[1], shape[2]))

    def image(
        self,
        condition: Any,
        keys: Tensor,
        table: Tensor,
        steps: Any,
        body: Body | None = None,
        loop: Loop = samplers.graph_loop,
    ) -> Tensor:
        """The restored image of a condition: float32 [B, H, W, 3], padded.

        Args:
          condition: the model's condition.
          keys: uint32 [B, 2], from `sample_keys`.
          table: the sampler's table, float32 [T, columns].
          steps: T, the number of steps.
          body: one step of the sampler; a compiled one if the loop itself is not compiled.
          loop: see `samplers.run`.
        """
        if isinstance(self.model, RegressionRestorer):
            return self.model.restore(condition)
        given = (condition, keys)
        x = samplers.run(
            self.sampler, body or self._body, self._noise(steps, given), table, steps, given, loop
        )
        return self.model.to_image(x, condition)

    def finish(self, image: Tensor, condition: Any, height: Tensor, width: Tensor) -> Tensor:
        """The restored image without padding: float32 [B, height, width, 3]; gray stays gray."""
        blurry = image_ops.crop(condition.blurry, height, width)
        restored = self.model.finish(image_ops.crop(image, height, width), blurry)
        return image_ops.gray_where_gray(restored, blurry)

    def _denoise(self, noisy: Tensor, noise_level: Tensor, given: Any) -> Estimate:
        condition, _ = given
        estimate = self.model.denoise(noisy, noise_level, condition)
        return estimate._replace(target=self.model.limit(estimate.target, condition))

    def _noise(self, t: Any, given: Any) -> Tensor:
        condition, keys = given
        _, height, width, channels = self.model.target_shape(condition)
        stream = noise.fold_in(noise.fold_in(keys, SAMPLER_STREAM), t)
        return noise.normal(stream, height, width, channels)

    def prepare(self, blurry: np.ndarray | Tensor, keys: Tensor) -> Prepared:
        """Pads the images and computes their condition; needed only once per image.

        Args:
          blurry: float32 [B, H, W, 3] in [-1, 1], any H and W.
          keys: uint32 [B, 2], from `sample_keys`.
        """
        blurry = ops.convert_to_tensor(blurry, dtype="float32")
        height, width = blurry.shape[1:3]
        padded = image_ops.pad_to_multiple(blurry, self.model.size_multiple)
        return Prepared(self._compiled_condition(padded, keys), height, width)

    def sample(
        self,
        prepared: Prepared,
        keys: Tensor,
        schedule: Schedule,
        on_step: Callable[[int], object] | None = None,
    ) -> Tensor:
        """One sample per image; call it again with other keys for more.

        Args:
          prepared: from `prepare`.
          keys: uint32 [B, 2], from `sample_keys`.
          schedule: inference schedule.
          on_step: called after each step with the number of steps done. Without it, all
            steps run in one call of the backend.

        Returns:
          float32 [B, H, W, 3], not yet clipped to [-1, 1].
        """
        table = self.sampler.table(schedule)
        if on_step is None:
            image = self._compiled_image(
                prepared.condition,
                keys,
                ops.convert_to_tensor(table),
                ops.convert_to_tensor(schedule.steps, dtype="int32"),
            )
        else:
            loop = partial(samplers.python_loop, on_step=on_step)
            image = self.image(
                prepared.condition, keys, table, schedule.steps, self._compiled_body, loop
            )
        return self.finish(image, prepared.condition, prepared.height, prepared.width)

    def __call__(self, blurry: np.ndarray | Tensor, keys: Tensor, schedule: Schedule) -> Tensor:
        """`prepare`, then `sample`: float32 [B, H, W, 3] -> float32 [B, H, W, 3]."""
        return self.sample(self.prepare(blurry, keys), keys, schedule)
