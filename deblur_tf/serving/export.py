"""The whole sampler as one TensorFlow SavedModel, free of Keras and deblur_tf."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

import deblur_tf
from deblur_tf.base.files import PARTIAL
from deblur_tf.diffusion.sampling import DEFAULT_SAMPLING, SamplingSettings
from deblur_tf.diffusion.schedules import (
    LINEAR,
    SPACED,
    Schedule,
    inference_beta_max,
    inference_schedule,
    spaced_schedule,
)
from deblur_tf.models.restoration import Restoration, sample_keys
from deblur_tf.models.restorer import Restorer
from deblur_tf.numerics import image_ops
from deblur_tf.serving.warm_up import write_requests

MAX_STEPS, MAX_SAMPLES = 1000, 64
MAX_PIXELS = 4_000_000
SETTINGS_FILE = "settings.json"


def schedule_in_graph(
    steps: tf.Tensor,
    sampling: SamplingSettings = DEFAULT_SAMPLING,
    beta_max: tf.Tensor | None = None,
    kind: str = LINEAR,
) -> Schedule:
    """`sampling.but(steps, beta_max).schedule(kind)` for tensors.

    Args:
      steps: int32 scalar, at least 1.
      sampling: the model's settings.
      beta_max: scalar in (0, 1); None or 0: as `but` chooses, the model's own for its own
        number of steps or else one fitted to the steps. Ignored for SPACED.
      kind: see `SamplingSettings.schedule`.

    Returns:
      A schedule whose betas are float64 [steps].
    """
    xp = tf.experimental.numpy
    if kind == SPACED:
        return spaced_schedule(steps, xp)
    last = inference_beta_max(steps, xp)
    if sampling.beta_max is not None:
        own = tf.constant(sampling.beta_max, tf.float64)
        last = tf.where(steps == sampling.steps, own, last)
    if beta_max is not None:
        # float32 in the signature: 0.9 is meant, not 0.89999998.
        given = tf.round(tf.cast(beta_max, tf.float64) * 1e6) / 1e6
        last = tf.where(given > 0.0, given, last)
    return inference_schedule(steps, last, xp)


def _checked(value: tf.Tensor, *requirements: tuple[tf.Tensor, str]) -> tf.Tensor:
    """`value` if all conditions hold, else an error with the message of one that fails.

    Operations on the result wait for the checks: a graph has no other order of execution.
    """
    checks = [tf.debugging.Assert(holds, [message]) for holds, message in requirements]
    with tf.control_dependencies(checks):
        return tf.identity(value)


def _per_image(values: tf.Tensor, batch: tf.Tensor, name: str) -> tf.Tensor:
    """[1] or [B] -> [B]."""
    fits = (tf.size(values) == 1) | (tf.size(values) == batch)
    values = _checked(values, (fits, f"{name}: give one value, or one for each image"))
    return tf.broadcast_to(values, [batch])


def _one_for_all(
    values: tf.Tensor, batch: tf.Tensor, low: float, high: float, name: str
) -> tf.Tensor:
    """[1] or [B], all the same -> scalar in a range."""
    values = _per_image(values, batch, name)
    return _checked(
        values[0],
        (tf.reduce_all(values == values[0]), f"{name} must be the same for all images of a batch"),
        (
            (values[0] >= low) & (values[0] <= high),
            f"{name} must be {low:g} or more, and at most {high:g}",
        ),
    )


class ExportedSampler(tf.Module):
    """The sampler with its model: images in, images out.

    Args:
      model: as for `Restoration`; its current weights are exported.
      sampling: the settings to sample with unless others are given; their sampler is used.
      max_pixels: largest picture that is accepted, in pixels.
    """

    def __init__(
        self,
        model: Restorer,
        sampling: SamplingSettings = DEFAULT_SAMPLING,
        max_pixels: int = MAX_PIXELS,
    ):
        super().__init__(name="deblur_sampler")
        self._sampling = sampling
        self._max_pixels = max_pixels
        self._restoration = Restoration(model, sampling.build_sampler())
        # Only the variables are saved: a Keras model kept here would be traced
        # by itself as well.
        self._weights = [variable.value for variable in model.variables]
        self._own = {
            "seed": np.array([0], np.int64),
            "steps": np.array([sampling.steps], np.int32),
            "beta_max": np.array([sampling.beta_max or 0.0], np.float32),
            "n_samples": np.array([sampling.n_samples], np.int32),
        }
        of_setting = [tf.TensorSpec([None], v.dtype, name=n) for n, v in self._own.items()]
        # No fixed shape, so that a wrong one raises the error of this module.
        image = tf.TensorSpec(None, tf.uint8, name="image")  # type: ignore[arg-type]
        encoded = tf.TensorSpec([None], tf.string, name="image_bytes")

        def traced(fn: object, *signature: tf.TensorSpec) -> tf.types.experimental.GenericFunction:
            return tf.function(fn, autograph=False, input_signature=signature)

        # One graph of the network for all signatures.
        batch = tf.TensorSpec([None, None, None, 3], tf.uint8)
        self._shared = traced(self._restore, batch, *of_setting)
        self.entries = {
            "serving_default": traced(self.restore, image),
            "with_settings": traced(self.restore_with, image, *of_setting),
            "encoded": traced(self.encoded, encoded),
            "encoded_with_settings": traced(self.encoded_with, encoded, *of_setting),
        }
        if model.guidance_scales:
            self.entries["guidance"] = traced(self.guidance, image)

    def _taken(self, image: tf.Tensor) -> tf.Tensor:
        """The checked image, uint8 [B, H, W, 3], or one clear error."""
        is_batch = (tf.rank(image) == 4) & (tf.shape(image)[-1] == 3)
        # Anything else becomes one pixel until the check fails. Not ensure_shape: TensorFlow's
        # graph optimiser (2.21) trusts the shape that it declares and removes the check.
        image = tf.cond(
            is_batch,
            lambda: tf.reshape(image, tf.concat([tf.shape(image)[:3], [3]], axis=0)),
            lambda: tf.zeros([1, 1, 1, 3], tf.uint8),
        )
        image.set_shape([None, None, None, 3])
        shape = tf.shape(image)
        return _checked(
            image,
            (is_batch, "image must be uint8 [batch, height, width, 3]"),
            (shape[0] > 0, "image has no pictures"),
            *self._size_limits(shape[1], shape[2]),
        )

    def _size_limits(self, height: tf.Tensor, width: tf.Tensor) -> list[tuple[tf.Tensor, str]]:
        pixels = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
        too_many = f"image has more than {self._max_pixels} pixels, the limit of this export"
        return [(pixels > 0, "image has no pixels"), (pixels <= self._max_pixels, too_many)]

    def _restore(
        self,
        image: tf.Tensor,
        seed: tf.Tensor,
        steps: tf.Tensor,
        beta_max: tf.Tensor,
        n_samples: tf.Tensor,
    ) -> tf.Tensor:
        """uint8 [B, H, W, 3] and settings [1] or [B] -> uint8 [B, H, W, 3]."""
        shape = tf.shape(image)
        batch = shape[0]
        seed = _per_image(seed, batch, "seed")
        steps = _one_for_all(steps, batch, 1, MAX_STEPS, "steps")
        beta_max = _one_for_all(beta_max, batch, 0.0, 0.9999, "beta_max")
        count = _one_for_all(n_samples, batch, 1, MAX_SAMPLES, "n_samples")
        with tf.control_dependencies([seed, steps, beta_max, count]):
            image = tf.identity(image)
        restoration = self._restoration
        blurry = image_ops.pad_to_multiple(
            image_ops.to_model_range(image), restoration.model.size_multiple
        )
        first = tf.zeros([batch], tf.int32)
        condition = restoration.condition(blurry, sample_keys(seed, first))
        table = restoration.sampler.table(
            schedule_in_graph(steps, self._sampling, beta_max, restoration.model.schedule_kind)
        )

        def add(i: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            x = restoration.image(condition, sample_keys(seed, first + i), table, steps)
            x = restoration.finish(x, condition, shape[1], shape[2])
            return i + 1, total + tf.clip_by_value(x, -1.0, 1.0)

        _, total = tf.while_loop(
            lambda i, _: i < count,
            add,
            (0, tf.zeros_like(image, tf.float32)),
            parallel_iterations=1,
        )
        return image_ops.to_uint8(total / tf.cast(count, tf.float32))

    def _defaults(self) -> list[tf.Tensor]:
        return [tf.constant(value) for value in self._own.values()]

    def restore(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Restores with the model's own settings and seed 0, as `Deblurrer.restore` does.

        uint8 [B, H, W, 3], any size -> {"restored": uint8 [B, H, W, 3]}.
        """
        return self.restore_with(image, *self._defaults())

    def restore_with(self, image: tf.Tensor, *settings: tf.Tensor) -> dict[str, tf.Tensor]:
        """Restores with the given settings.

        Args:
          image: uint8 [B, H, W, 3], any size.
          settings: seed, int64, [B] or [1] for all (the result of an image does not depend on
            its batch); steps, int32; beta_max, float32, 0: see `schedule_in_graph`; n_samples,
            int32, samples that are averaged. Of the last three each is [1], or [B] with equal
            values.

        Returns:
          {"restored": uint8 [B, H, W, 3]}.
        """
        return {"restored": self._shared(self._taken(image), *settings)}

    def encoded(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """JPEG or PNG files in, PNG files out, of any mix of sizes; string [B] each."""
        return self.encoded_with(image_bytes, *self._defaults())

    def encoded_with(self, image_bytes: tf.Tensor, *settings: tf.Tensor) -> dict[str, tf.Tensor]:
        """`encoded` with settings, see `restore_with`."""
        count = tf.size(image_bytes)
        own = [_per_image(v, count, name) for name, v in zip(self._own, settings, strict=True)]

        def one(row: tuple[tf.Tensor, ...]) -> tf.Tensor:
            data, *values = row
            image = self._decoded(data)
            return tf.io.encode_png(self._shared(image[None], *(v[None] for v in values))[0])

        restored = tf.map_fn(
            one,
            (image_bytes, *own),
            fn_output_signature=tf.TensorSpec([], tf.string),
            parallel_iterations=1,
        )
        return {"restored_bytes": restored}

    def _decoded(self, data: tf.Tensor) -> tf.Tensor:
        """uint8 [H, W, 3] from a file, whose size is checked before it is decoded."""
        is_png = tf.strings.substr(data, 0, 8) == b"\x89PNG\r\n\x1a\n"
        known = is_png | tf.io.is_jpeg(data)
        data = _checked(data, (known, "image_bytes must be a JPEG or PNG file"))

        def size_of_png() -> tf.Tensor:
            whole = (tf.strings.length(data) > 24, "image_bytes: the PNG file ends early")
            header = tf.strings.substr(_checked(data, whole), 16, 8)
            return tf.io.decode_raw(header, tf.int32, little_endian=False)

        size = tf.cond(is_png, size_of_png, lambda: tf.io.extract_jpeg_shape(data)[:2])
        data = _checked(data, *self._size_limits(size[0], size[1]))

        def deep() -> tf.Tensor:  # decode_image would cut 16 bits off, not round them
            values = tf.io.decode_png(data, channels=3, dtype=tf.uint16)
            return tf.cast(tf.round(tf.cast(values, tf.float32) / 257.0), tf.uint8)

        def flat() -> tf.Tensor:
            return tf.io.decode_image(data, channels=3, expand_animations=False)

        is_deep = is_png & (tf.strings.substr(data, 24, 1) == b"\x10")  # bits per value
        return tf.ensure_shape(tf.cond(is_deep, deep, flat), [None, None, 3])

    def guidance(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """The sharp structure that guidance predicts (icDPM eq. 2), without noise.

        uint8 [B, H, W, 3] -> {"scale_k": float32 [B, H / 2^k, W / 2^k, 1]} in [-1, 1],
        sizes rounded up.
        """
        image = self._taken(image)
        model, shape = self._restoration.model, tf.shape(image)
        padded = image_ops.pad_to_multiple(image_ops.to_model_range(image), model.size_multiple)
        predictions = model.condition(padded).guidance.predictions
        return {
            f"scale_{k}": image_ops.crop(p, -(-shape[1] // 2**k), -(-shape[2] // 2**k))
            for k, p in zip(model.guidance_scales, predictions, strict=True)
        }


def next_version(folder: str | os.PathLike[str]) -> int:
    """The number of the next version in a folder of versions, from 1.

    Raises:
      FileExistsError: if something else is in the folder.
    """
    folder = pathlib.Path(folder)
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    names = [name for name in names if not name.endswith(PARTIAL)]
    others = [name for name in names if not name.isdecimal()]
    if others:
        raise FileExistsError(f"{folder}: has {others[0]!r} in it; give a new folder")
    return max(map(int, names), default=0) + 1


def export(
    model: Restorer,
    folder: str | os.PathLike[str],
    sampling: SamplingSettings = DEFAULT_SAMPLING,
    max_pixels: int | None = None,
    warm_up: Sequence[tuple[int, int]] = (),
) -> pathlib.Path:
    """Writes a SavedModel with the signatures of `ExportedSampler`.

    Args:
      model: built, with its weights.
      folder: folder of numbered versions, as TensorFlow Serving expects; the next is written.
      sampling: see `ExportedSampler`.
      max_pixels: see `ExportedSampler`; None: `MAX_PIXELS`, or the pixels of four of the
        model's largest tiles if that is less, since a SavedModel has no tiles.
      warm_up: width and height of pictures that a server restores before it is ready.

    Returns:
      The folder of the version, which is written completely or not at all.

    Raises:
      FileExistsError: if the folder has other files in it.
    """
    version = next_version(folder)
    target = pathlib.Path(folder) / str(version)
    partial = target.with_name(target.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    if max_pixels is None:
        max_pixels = min(MAX_PIXELS, 4 * model.largest_tile**2)
    module = ExportedSampler(model, sampling, max_pixels)
    try:
        # Custom gradients are not needed for serving, and take long to trace.
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(module, str(partial), module.entries, options)
        about = {
            "deblur_tf": deblur_tf.__version__,
            "settings": dataclasses.asdict(sampling),
            "max_pixels": max_pixels,
        }
        if warm_up:
            write_requests(partial, warm_up)
        (partial / SETTINGS_FILE).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        os.replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target
