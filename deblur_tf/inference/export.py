"""The whole sampler as one TensorFlow SavedModel, free of Keras and deblur_tf."""

from __future__ import annotations

import os

import keras
import tensorflow as tf

from deblur_tf import image_ops
from deblur_tf.diffusion import samplers
from deblur_tf.sampling import Sampler, sample_keys
from deblur_tf.schedules import DEFAULT_SAMPLING, SamplingSettings


def ddpm_table_in_graph(
    steps: tf.Tensor, sampling: SamplingSettings = DEFAULT_SAMPLING
) -> tf.Tensor:
    """`samplers.ddpm_table(sampling.but(steps).schedule())` for a tensor of steps.

    int32 scalar, at least 1 -> float32 [steps, 5], computed in float64.
    """
    beta_max = tf.minimum(10.0 / tf.cast(steps, tf.float64), 0.9)
    if sampling.beta_max is not None:
        own = tf.constant(sampling.beta_max, tf.float64)
        beta_max = tf.where(steps == sampling.steps, own, beta_max)
    betas = tf.linspace(tf.constant(1e-6, tf.float64), beta_max, steps)
    betas = tf.where(steps == 1, beta_max, betas)
    alpha_bars = tf.math.cumprod(1.0 - betas)
    previous = tf.concat([tf.ones([1], tf.float64), alpha_bars[:-1]], axis=0)
    remaining = 1.0 - alpha_bars
    columns: list[tf.Tensor] = [None] * 5
    columns[samplers.NOISE_LEVEL] = tf.sqrt(alpha_bars)
    columns[samplers.SIGMA] = tf.sqrt(remaining)
    columns[samplers.MEAN_SHARP] = tf.sqrt(previous) * betas / remaining
    columns[samplers.MEAN_NOISY] = tf.sqrt(1.0 - betas) * (1.0 - previous) / remaining
    columns[samplers.STDDEV] = tf.sqrt((1.0 - previous) / remaining * betas)
    return tf.cast(tf.stack(columns, axis=1), tf.float32)


class ExportedSampler(tf.Module):
    """uint8 images in, uint8 images out.

    Args:
      model: as for `Sampler`; its current weights are exported.
      sampling: its settings: with as many steps, their beta_max is used.
    """

    def __init__(self, model: keras.Model, sampling: SamplingSettings = DEFAULT_SAMPLING):
        super().__init__(name="deblur_sampler")
        self._sampling = sampling
        self._sampler = Sampler(model)
        # Only the variables are saved: a Keras model kept here would be traced
        # by itself as well.
        self._weights = [variable.value for variable in model.variables]

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None, None, None, 3], tf.uint8, name="image"),
            tf.TensorSpec([], tf.int32, name="steps"),
            tf.TensorSpec([], tf.int64, name="seed"),
        ],
    )
    def restore(self, image: tf.Tensor, steps: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """One sample per image, the same as `Deblurrer.restore` gives.

        Args:
          image: uint8 [B, H, W, 3], any size.
          steps: int32 scalar, 1 or more.
          seed: int64 scalar; an image's result does not depend on its batch.

        Returns:
          {"restored": uint8 [B, H, W, 3]}.
        """
        positive = tf.debugging.assert_positive(steps, "steps must be 1 or more")
        with tf.control_dependencies([positive]):
            steps = tf.identity(steps)
        shape = tf.shape(image)
        blurry = image_ops.pad_to_multiple(
            image_ops.to_model_range(image), self._sampler.model.size_multiple
        )
        keys = sample_keys(seed, tf.zeros([shape[0]], tf.int32))
        guidance = self._sampler.guide(blurry, keys)
        table = ddpm_table_in_graph(steps, self._sampling)

        def step(t: tf.Tensor, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return t - 1, self._sampler.step(x, table[t - 1], t, blurry, guidance, keys)

        _, x = tf.while_loop(
            lambda t, x: t > 0,
            step,
            (
                self._sampler.model.sampling_steps(steps),
                self._sampler.start(blurry, keys, steps),
            ),
            shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, None, None, 3])),
        )
        x = self._sampler.model.to_image(x, guidance)
        restored = image_ops.to_uint8(image_ops.crop(x, shape[1], shape[2]))
        return {"restored": restored}


def export(
    model: keras.Model,
    folder: str | os.PathLike[str],
    sampling: SamplingSettings = DEFAULT_SAMPLING,
) -> None:
    """Writes a SavedModel whose serving signature is `ExportedSampler.restore`.

    Args:
      model: built, with its weights.
      folder: output folder; must not exist or be empty.
      sampling: see `ExportedSampler`.

    Raises:
      FileExistsError: if the folder has files in it.
    """
    if os.path.isdir(folder) and os.listdir(folder):
        raise FileExistsError(f"{folder}: not empty; give a new folder")
    module = ExportedSampler(model, sampling)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.restore})
