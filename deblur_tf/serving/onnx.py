"""One denoising step as an ONNX file, for runtimes without TensorFlow.

A sampler is a loop around it, in any language: see docs/serving.md.
"""

from __future__ import annotations

import pathlib

import tensorflow as tf

from deblur_tf.base.errors import UsageError
from deblur_tf.base.files import replacing
from deblur_tf.models.restorer import DiffusionRestorer, Restorer

STEP_FILE = "step.onnx"
OPSET = 17


def export_step(model: Restorer, folder: pathlib.Path) -> pathlib.Path:
    """Writes `step.onnx`: estimates the target from a noisy one, limited to its range.

    Inputs, float32: noisy [B, H, W, 3], blurry [B, H, W, 3] in [-1, 1], noise_level [B];
    H and W are multiples of the model's `size_multiple`. Further inputs are the
    model's `known_inputs`, [B, H, W, 3] each, because converters do not support
    two-dimensional Fourier transforms. Output: target [B, H, W, 3]. The guidance is computed
    in every step, without noise.

    Args:
      model: a built diffusion model.
      folder: folder for the file; made if missing.

    Returns:
      The file.

    Raises:
      ModuleNotFoundError: if tf2onnx is not installed.
      UsageError: if the model does no sampling, needs Fourier transforms in each step, or
        diffuses a latent, which also needs an encoder and a decoder.
    """
    if not isinstance(model, DiffusionRestorer):
        raise UsageError("--format=onnx: a regression model has no denoising step")
    if model.noisy_shape(model.size_multiple, model.size_multiple)[-1] != 3:
        raise UsageError(
            "--format=onnx: this model denoises a latent, and a step alone has no decoder; try "
            "saved_model"
        )

    if not model.known_inputs and any(n.has_fourier_transforms for n in model.networks):
        raise UsageError(
            "--format=onnx: this model's predictor needs Fourier transforms; try saved_model"
        )

    import tf2onnx

    def step(
        noisy: tf.Tensor, blurry: tf.Tensor, noise_level: tf.Tensor, *known: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        condition = model.condition_of(blurry, *known) if known else model.condition(blurry)
        estimate = model.denoise(noisy, noise_level, condition)
        return {"target": model.limit(estimate.target, condition)}

    image = [None, None, None, 3]
    signature = [
        tf.TensorSpec(image, tf.float32, name="noisy"),
        tf.TensorSpec(image, tf.float32, name="blurry"),
        tf.TensorSpec([None], tf.float32, name="noise_level"),
    ]
    signature += [tf.TensorSpec(image, tf.float32, name=name) for name in model.known_inputs]
    traced = tf.function(step, autograph=False)
    made, _ = tf2onnx.convert.from_function(traced, input_signature=signature, opset=OPSET)
    target = folder / STEP_FILE
    with replacing(target) as file:
        file.write(made.SerializeToString())
    return target
