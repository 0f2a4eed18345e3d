"""Restores photographs of any size with a trained model."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops
from PIL import Image

from deblur_tf import image_ops
from deblur_tf.arrays import named_variables, values_of
from deblur_tf.data.photo_files import read_rgb
from deblur_tf.diffusion import samplers
from deblur_tf.diffusion.schedules import DEFAULT_SAMPLING, SamplingSettings
from deblur_tf.errors import NonFiniteError
from deblur_tf.model_folders import DEFAULT_MODEL
from deblur_tf.models.restoration import Prepared, Restoration, sample_keys
from deblur_tf.models.restorer import Restorer
from deblur_tf.models.saved import load_model


class Deblurrer:
    """A trained model, ready to restore.

    >>> deblurrer = Deblurrer.from_pretrained("tiny")
    >>> sharp = deblurrer.restore("photo.jpg", n_samples=4, seed=1)

    Args:
      model: a built restorer.
      origin: where its weights are from, for messages.
      sampling: the settings to sample with unless others are given.
    """

    def __init__(
        self,
        model: Restorer,
        origin: str = "",
        sampling: SamplingSettings = DEFAULT_SAMPLING,
    ):
        self.model = model
        self.origin = origin
        self.sampling = sampling
        self._restorations: dict[tuple[str, float], Restoration] = {}

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str] = DEFAULT_MODEL) -> Deblurrer:
        """Loads a model of the package by name, or a run or model folder.

        Raises:
          ModelError: if it cannot be loaded.
        """
        return cls(*load_model(name_or_path))

    def fingerprint(self) -> str:
        """Tells models with other weights apart: 8 hexadecimal digits."""
        digest = 0
        for name, value in sorted(values_of(named_variables(self.model)).items()):
            digest = zlib.crc32(value.tobytes(), zlib.crc32(name.encode(), digest))
        return f"{digest:08x}"

    def _with(self, sampling: SamplingSettings) -> Restoration:
        """The restoration by a sampler; what it compiled is kept."""
        key = sampling.sampler, sampling.eta
        if key not in self._restorations:
            self._restorations[key] = Restoration(self.model, samplers.named(*key))
        return self._restorations[key]

    def prepare(self, blurry: np.ndarray, seed: int = 0) -> Prepared:
        """What the model knows of an image before sampling: uint8 [H, W, 3]."""
        return self._with(self.sampling).prepare(
            image_ops.to_model_range(blurry[None]), sample_keys(seed, [0])
        )

    def samples(
        self,
        blurry: np.ndarray,
        steps: int | None = None,
        beta_max: float | None = None,
        seed: int = 0,
        n_samples: int | None = None,
        sampler: str | None = None,
        eta: float | None = None,
        on_step: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """Several samples of one image; the guidance is computed once.

        Sample i depends on the image, `seed` and i alone.

        Args:
          blurry: uint8 [H, W, 3].
          steps: sampling steps, one network evaluation each; None: the model's.
          beta_max: largest noise variance of a step; None: the model's, or with
            another number of steps one that is fitted to it.
          seed: any 64-bit integer.
          n_samples: how many; None: the model's.
          sampler: name of one of `samplers.SAMPLERS`; None: the model's.
          eta: of the sampler "ddim".
          on_step: called after each step with the number of steps done, which
            reaches n_samples * steps.

        Returns:
          float32 [n_samples, H, W, 3] in [-1, 1].

        Raises:
          ValueError: for an image of another type, or impossible settings.
          NonFiniteError: if the model gave no picture.
        """
        blurry = np.asarray(blurry)
        if blurry.dtype != np.uint8 or blurry.ndim != 3 or blurry.shape[-1] != 3:
            raise ValueError(f"need uint8 [H, W, 3], got {blurry.dtype} {blurry.shape}")
        sampling = self.sampling.but(steps, beta_max, n_samples, sampler, eta)
        schedule, restoration = sampling.schedule(), self._with(sampling)
        prepared = self.prepare(blurry, seed)
        result = []
        for i in range(sampling.n_samples):

            def progress(done: int, before: int = i * sampling.steps) -> None:
                on_step(before + done)

            keys = sample_keys(seed, [i])
            sample = restoration.sample(
                prepared, keys, schedule, None if on_step is None else progress
            )
            sample = ops.convert_to_numpy(ops.clip(sample[0], -1.0, 1.0))
            if not np.isfinite(sample).all():
                raise NonFiniteError(
                    f"the result is not finite with {sampling.steps} step(s) of beta_max "
                    f"{schedule.betas[-1]:g}: the model's weights are damaged, or these settings "
                    "do not suit it; try its own, without --steps and --beta_max"
                )
            result.append(sample)
        return np.stack(result)

    def restore(
        self,
        image: str | os.PathLike[str] | Image.Image | np.ndarray,
        steps: int | None = None,
        beta_max: float | None = None,
        seed: int = 0,
        n_samples: int | None = None,
        sampler: str | None = None,
        eta: float | None = None,
        on_step: Callable[[int], None] | None = None,
    ) -> Any:
        """A sharp picture: one sample, or the mean of several.

        Args:
          image: a path, a PIL image, or an array: uint8 [0, 255] or float
            [0, 1], [H, W, 3] or [B, H, W, 3].
          steps, beta_max, seed, n_samples, sampler, eta, on_step: see `samples`.

        Returns:
          The same kind and size: a PIL image for a path or PIL image, else an
          array of the same dtype.

        Raises:
          ValueError: for an array of another shape or dtype.
          DataError: if a file cannot be read.
        """

        def one(pixels: np.ndarray) -> np.ndarray:
            found = self.samples(pixels, steps, beta_max, seed, n_samples, sampler, eta, on_step)
            return mean_image(found)

        if isinstance(image, Image.Image):
            return Image.fromarray(one(np.asarray(image.convert("RGB"))))
        if isinstance(image, (str, os.PathLike)):
            return Image.fromarray(one(read_rgb(image)))
        if image.ndim == 4:
            return np.stack(
                [
                    self.restore(i, steps, beta_max, seed, n_samples, sampler, eta, on_step)
                    for i in image
                ]
            )
        if np.issubdtype(image.dtype, np.floating):
            pixels = np.round(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
            return (one(pixels) / 255.0).astype(image.dtype)
        return one(image)


def mean_image(samples: np.ndarray) -> np.ndarray:
    """The float mean of samples, rounded once (sample averaging, DvSR sec. 4.1).

    float32 [N, H, W, 3] in [-1, 1] -> uint8 [H, W, 3].
    """
    return image_ops.to_uint8_array(samples.mean(axis=0))
