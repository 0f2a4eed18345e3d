"""Counts the floating-point operations of convolutions, dense layers and attention."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras

from deblur_tf.base.types import Tensor
from deblur_tf.models.restorer import DiffusionRestorer
from deblur_tf.networks.kernels import LatentKernelPredictor
from deblur_tf.networks.latent_layers import Attention

KERNELS = (keras.layers.Conv2D, keras.layers.Dense)
KINDS = (*KERNELS, Attention, LatentKernelPredictor)
# (layer, its inputs, its output)
Visit = Callable[[keras.layers.Layer, tuple[Tensor, ...], Tensor], None]


def count_flops(model: keras.Model, height: int = 720, width: int = 1280) -> int:
    """Operations of one forward pass for one image, 2 per multiply-add.

    Runs the model on shapes alone and records the inputs of each convolution, dense layer,
    attention product and element-wise adaptive convolution. Pointwise work (activations, sums,
    pooling) is not counted.

    Args:
      model: a built `UNet` or restorer; for a restorer, the work done once per image and
        one denoising step are counted, as in the paper's Table 13.
      height, width: size of the image in pixels; multiples of the model's
        `size_multiple`, so that padding costs nothing.

    Raises:
      ValueError: if height or width is not such a multiple.
    """
    total = 0

    def add(layer: keras.layers.Layer, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        values = math.prod(output.shape[1:])
        if isinstance(layer, Attention):  # scores, and the sum that they weight
            context = inputs[-1].shape
            total += 4 * values * math.prod(context[1:-1])
        elif isinstance(layer, LatentKernelPredictor):
            total += 2 * values * layer.size**2
        elif isinstance(layer, KERNELS):
            total += 2 * values // output.shape[-1] * math.prod(layer.kernel.shape)

    _visit(model, height, width, add)
    return total


# Bytes that a training step keeps per output value of a convolution or an attention product,
# as XLA plans it for the network of gopro.gin (benchmarks/memory.py: 0.5 GB per crop).
BYTES_KEPT = 12.0
# Largest side of feature maps whose size does not depend on the crop: statistics of a picture.
LARGEST_MAPS = 128


def training_bytes(model: keras.Model, side: int, batch: int, decodes: bool = False) -> float:
    """About how much memory a training step needs for its activations.

    Args:
      model: see `count_flops`.
      side: side of a crop in pixels.
      batch: crops per step on one device.
      decodes: whether the loss decodes a latent that the model predicts.
    """
    total = 0

    def add(layer: keras.layers.Layer, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(layer, KERNELS):
            total += math.prod(output.shape[1:])
        elif isinstance(layer, Attention):
            tokens, context = (math.prod(x.shape[1:-1]) for x in (output, inputs[-1]))
            total += layer.heads * tokens * context

    _visit(model, side, side, add)
    if decodes:
        latent = keras.KerasTensor((1, *model.noisy_shape(side, side)), "float32")
        with _observed(model, add):
            model.vae.decode(latent)
    return BYTES_KEPT * total * batch


def most_training_bytes(model: keras.Model, side: int, batch: int) -> float:
    """An upper bound of `training_bytes`, quick to compute: every layer counts at full size.

    Arguments: see `training_bytes`.
    """
    layers = model._flatten_layers()
    pixels = max(side, LARGEST_MAPS) ** 2
    channels = sum(x.kernel.shape[-1] for x in layers if isinstance(x, KERNELS))
    # Tokens attend to each other, or to a text with fewer tokens than there are pixels.
    channels += pixels * sum(x.heads for x in layers if isinstance(x, Attention))
    return BYTES_KEPT * channels * pixels * batch


def _visit(
    model: keras.Model,
    height: int,
    width: int,
    visit: Visit,
) -> None:
    """Runs the model on shapes alone; calls `visit` for each layer of `KINDS`."""
    multiple = model.size_multiple
    if height % multiple or width % multiple:
        raise ValueError(f"{height}x{width} is not a multiple of {multiple}")
    image = keras.KerasTensor((1, height, width, 3), "float32")
    level = keras.KerasTensor((1,), "float32")
    with _observed(model, visit):
        if isinstance(model, DiffusionRestorer):
            noisy = keras.KerasTensor((1, *model.noisy_shape(height, width)), "float32")
            model.compute_output_spec(noisy, level, image)
        elif getattr(model, "use_noise_level", False):
            model.compute_output_spec(image, level)
        else:
            model.compute_output_spec(image)


@contextlib.contextmanager
def _observed(model: keras.Model, visit: Visit) -> Iterator[None]:
    """Within the context, calls `visit` whenever a layer of `KINDS` is called."""
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, KINDS)]

    def watched(layer: keras.layers.Layer) -> Callable[..., Tensor]:
        original = layer.call

        def call(*args: Any, **kwargs: Any) -> Tensor:
            output = original(*args, **kwargs)
            visit(layer, args, output)
            return output

        return call

    # Bypasses Keras' own __setattr__, which locks built layers.
    for layer in layers:
        object.__setattr__(layer, "call", watched(layer))
    try:
        yield
    finally:
        for layer in layers:
            object.__delattr__(layer, "call")
