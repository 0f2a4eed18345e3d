"""The whole sampler as one TensorFlow SavedModel, free of Keras and deblur_tf."""

from __future__ import annotations

import os

import tensorflow as tf

from deblur_tf import image_ops
from deblur_tf.diffusion import samplers
from deblur_tf.diffusion.schedules import DEFAULT_SAMPLING, SamplingSettings, Schedule
from deblur_tf.models.restoration import Restoration, sample_keys
from deblur_tf.models.restorer import Restorer


def schedule_in_graph(steps: tf.Tensor, sampling: SamplingSettings = DEFAULT_SAMPLING) -> Schedule:
    """`sampling.but(steps).schedule()` for a tensor of steps.

    int32 scalar, at least 1 -> betas float64 [steps].
    """
    beta_max = tf.minimum(10.0 / tf.cast(steps, tf.float64), 0.9)
    if sampling.beta_max is not None:
        own = tf.constant(sampling.beta_max, tf.float64)
        beta_max = tf.where(steps == sampling.steps, own, beta_max)
    betas = tf.linspace(tf.constant(1e-6, tf.float64), beta_max, steps)
    return Schedule(tf.where(steps == 1, beta_max, betas), tf.experimental.numpy)


class ExportedSampler(tf.Module):
    """uint8 images in, uint8 images out.

    Args:
      model: as for `Restoration`; its current weights are exported.
      sampling: its settings: their sampler, and with as many steps their beta_max, is used.
    """

    def __init__(self, model: Restorer, sampling: SamplingSettings = DEFAULT_SAMPLING):
        super().__init__(name="deblur_sampler")
        self._sampling = sampling
        self._restoration = Restoration(model, samplers.named(sampling.sampler, sampling.eta))
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
        restoration = self._restoration
        blurry = image_ops.pad_to_multiple(
            image_ops.to_model_range(image), restoration.model.size_multiple
        )
        keys = sample_keys(seed, tf.zeros([shape[0]], tf.int32))
        table = restoration.sampler.table(schedule_in_graph(steps, self._sampling))
        x = restoration.image(restoration.condition(blurry, keys), keys, table, steps)
        return {"restored": image_ops.to_uint8(image_ops.crop(x, shape[1], shape[2]))}


def export(
    model: Restorer,
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
