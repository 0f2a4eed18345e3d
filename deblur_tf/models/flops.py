"""Counts the floating-point operations of convolutions and dense layers."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras

from deblur_tf.models.restorer import DiffusionRestorer
from deblur_tf.types import Tensor


def count_flops(model: keras.Model, height: int = 720, width: int = 1280) -> int:
    """Operations of one forward pass for one image, 2 per multiply-add.

    Runs the model on shapes alone and notes what each convolution and dense
    layer sees. Pointwise work (activations, sums, pooling) is not counted.

    Args:
      model: a built `UNet` or restorer; of the latter, what is done once an
        image and one denoising step are counted, as in the paper's Table 13.
      height, width: size of the image in pixels; multiples of the model's
        `size_multiple`, so that padding costs nothing.

    Raises:
      ValueError: if the size is no such multiple.
    """
    total = 0

    def add(layer: keras.layers.Layer, output: Tensor) -> None:
        nonlocal total
        positions = math.prod(output.shape[1:-1])
        total += 2 * positions * math.prod(layer.kernel.shape)

    _visit(model, height, width, add)
    return total


# Bytes that a training step keeps for each number that a convolution puts out, as XLA
# plans it for the network of gopro.gin (benchmarks/memory.py: 0.5 GB a crop).
BYTES_KEPT = 12.0


def training_bytes(model: keras.Model, side: int, batch: int) -> float:
    """About how much memory a training step needs for its activations.

    Args:
      model: see `count_flops`.
      side: of a crop.
      batch: crops that a device works on at a time.
    """
    total = 0

    def add(layer: keras.layers.Layer, output: Tensor) -> None:
        nonlocal total
        total += math.prod(output.shape[1:])

    _visit(model, side, side, add)
    return BYTES_KEPT * total * batch


def _visit(
    model: keras.Model,
    height: int,
    width: int,
    visit: Callable[[keras.layers.Layer, Tensor], None],
) -> None:
    """Calls `visit` with each conv and dense layer and its output, on shapes alone."""
    multiple = model.size_multiple
    if height % multiple or width % multiple:
        raise ValueError(f"{height}x{width} is no multiple of {multiple}")
    image = keras.KerasTensor((1, height, width, 3), "float32")
    level = keras.KerasTensor((1,), "float32")
    with _observed(model, visit):
        if isinstance(model, DiffusionRestorer):
            model.compute_output_spec(image, level, image)
        elif getattr(model, "use_noise_level", False):
            model.compute_output_spec(image, level)
        else:
            model.compute_output_spec(image)


@contextlib.contextmanager
def _observed(
    model: keras.Model, visit: Callable[[keras.layers.Layer, Tensor], None]
) -> Iterator[None]:
    """Calls `visit` with each conv and dense layer and its output, within."""
    layers = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense))
    ]

    def watched(layer: keras.layers.Layer) -> Callable[..., Tensor]:
        original = layer.call

        def call(*args: Any, **kwargs: Any) -> Tensor:
            output = original(*args, **kwargs)
            visit(layer, output)
            return output

        return call

    # Past Keras' own __setattr__, which locks built layers.
    for layer in layers:
        object.__setattr__(layer, "call", watched(layer))
    try:
        yield
    finally:
        for layer in layers:
            object.__delattr__(layer, "call")
