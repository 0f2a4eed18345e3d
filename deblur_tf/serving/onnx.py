"""ONNX files, for runtimes without TensorFlow: a whole restoration, or one denoising step.

A sampler of several steps is a loop around the step, in any language: see docs/serving.md.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence

import tensorflow as tf

from deblur_tf.base.errors import UsageError
from deblur_tf.base.files import replacing
from deblur_tf.diffusion.sampling import SamplingSettings
from deblur_tf.models.restoration import Restoration
from deblur_tf.models.restorer import DiffusionRestorer, RegressionRestorer, Restorer
from deblur_tf.numerics import fourier, image_ops

PICTURE_FILE, STEP_FILE = "picture.onnx", "step.onnx"
OPSET = 17
_IMAGES = [None, None, None, 3]


def export_onnx(
    model: Restorer, folder: pathlib.Path, sampling: SamplingSettings
) -> list[pathlib.Path]:
    """Writes `picture.onnx` for a model whose result takes one call, otherwise `step.onnx`.

    Args:
      model: a built model.
      folder: folder for the file; made if missing.
      sampling: the model's settings.

    Returns:
      The files.

    Raises:
      ModuleNotFoundError: if tf2onnx is not installed.
      UsageError: see `export_picture` and `export_step`.
    """
    if isinstance(model, RegressionRestorer) or sampling.steps == 1:
        return [export_picture(model, folder, sampling)]
    return [export_step(model, folder)]


def export_picture(
    model: Restorer, folder: pathlib.Path, sampling: SamplingSettings
) -> pathlib.Path:
    """Writes `picture.onnx`, which restores pictures of any size in one call.

    Inputs: image, uint8 [B, H, W, 3], and for a diffusion model noise, float32 [B, H, W, 3],
    standard normal. Output: restored, uint8 [B, H, W, 3]. Fourier transforms are written as
    products with matrices, since converters do not know them.

    Args:
      model: a built model; a diffusion model is sampled in one step from pure noise.
      folder: folder for the file; made if missing.
      sampling: the model's settings.

    Raises:
      ModuleNotFoundError: if tf2onnx is not installed.
      UsageError: if the settings have several steps, or the model diffuses a latent.
    """
    _refuse_latents(model)
    diffusion = model if isinstance(model, DiffusionRestorer) else None
    if diffusion is not None and sampling.steps != 1:
        raise UsageError(
            f"--format=onnx: this model takes {sampling.steps} steps, and one call makes one"
        )
    level = float(sampling.schedule(model.schedule_kind).noise_levels[-1])
    restoration = Restoration(model)

    def picture(image: tf.Tensor, *noise: tf.Tensor) -> dict[str, tf.Tensor]:
        size = tf.shape(image)[1], tf.shape(image)[2]
        blurry = image_ops.pad_to_multiple(image_ops.to_model_range(image), model.size_multiple)
        condition = model.condition(blurry)
        if diffusion is None:
            made = model.restore(condition)
        else:
            (noisy,) = (image_ops.pad_to_multiple(x, model.size_multiple) for x in noise)
            estimate = diffusion.denoise(noisy, tf.fill([tf.shape(image)[0]], level), condition)
            made = model.to_image(diffusion.limit(estimate.target, condition), condition)
        made = tf.clip_by_value(restoration.finish(made, condition, *size), -1.0, 1.0)
        return {"restored": image_ops.to_uint8(made)}

    signature = [tf.TensorSpec(_IMAGES, tf.uint8, name="image")]
    if diffusion is not None:
        signature.append(tf.TensorSpec(_IMAGES, tf.float32, name="noise"))
    return _write(picture, signature, folder / PICTURE_FILE)


def export_step(model: Restorer, folder: pathlib.Path) -> pathlib.Path:
    """Writes `step.onnx`: estimates the target from a noisy one, limited to its range.

    Inputs, float32: noisy [B, H, W, 3], blurry [B, H, W, 3] in [-1, 1], noise_level [B];
    H and W are multiples of the model's `size_multiple`. Output: target [B, H, W, 3].
    What the model computes from the blurry image alone, such as the guidance (without noise), is
    computed in every step.

    Args:
      model: a built diffusion model.
      folder: folder for the file; made if missing.

    Raises:
      ModuleNotFoundError: if tf2onnx is not installed.
      UsageError: if the model does no sampling, or diffuses a latent.
    """
    if not isinstance(model, DiffusionRestorer):
        raise UsageError("--format=onnx: a regression model has no denoising step")
    _refuse_latents(model)

    def step(noisy: tf.Tensor, blurry: tf.Tensor, noise_level: tf.Tensor) -> dict[str, tf.Tensor]:
        condition = model.condition(blurry)
        estimate = model.denoise(noisy, noise_level, condition)
        return {"target": model.limit(estimate.target, condition)}

    signature = [
        tf.TensorSpec(_IMAGES, tf.float32, name="noisy"),
        tf.TensorSpec(_IMAGES, tf.float32, name="blurry"),
        tf.TensorSpec([None], tf.float32, name="noise_level"),
    ]
    return _write(step, signature, folder / STEP_FILE)


def _refuse_latents(model: Restorer) -> None:
    """Raises `UsageError` for a model that also needs an encoder and a decoder."""
    if not isinstance(model, DiffusionRestorer):
        return
    if model.noisy_shape(model.size_multiple, model.size_multiple)[-1] != 3:
        raise UsageError(
            "--format=onnx: this model denoises a latent, and a step alone has no decoder; try "
            "saved_model"
        )


def _write(
    fn: Callable[..., dict[str, tf.Tensor]], signature: Sequence[tf.TensorSpec], path: pathlib.Path
) -> pathlib.Path:
    import onnx
    import tf2onnx

    with fourier.as_products():
        made, _ = tf2onnx.convert.from_function(
            tf.function(fn, autograph=False), input_signature=signature, opset=OPSET
        )
    try:
        onnx.checker.check_model(made)
    except onnx.checker.ValidationError as error:  # the converter leaves what it does not know
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"--format=onnx: the converter cannot express this model ({reason}); try saved_model"
        ) from error
    with replacing(path) as file:
        file.write(made.SerializeToString())
    return path
