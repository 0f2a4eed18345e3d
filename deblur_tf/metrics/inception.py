"""The Inception network of 2015 whose features FID and KID compare, in `keras.ops`.

Its layers are those of Szegedy et al. (2015) except for two details of pooling: averages do
not count padding, and the last block uses max pooling. The batch normalisation after each
convolution is folded into its weights.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from deblur_tf.base.types import Tensor
from deblur_tf.storage.arrays import Arrays

SIDE = 299  # pixels
EPSILON = 1e-3  # of the batch normalisations

Conv = Callable[..., Tensor]
Array = np.ndarray


def _max(x: Tensor) -> Tensor:
    return ops.max_pool(x, 3, strides=2, padding="valid")


def _average(x: Tensor) -> Tensor:
    return ops.average_pool(x, 3, strides=1, padding="same")


def _join(*branches: Tensor) -> Tensor:
    return ops.concatenate(branches, axis=-1)


def _block_a(x: Tensor, conv: Conv, pooled: int) -> Tensor:
    one = conv("branch1x1", x, 64)
    five = conv("branch5x5_2", conv("branch5x5_1", x, 48), 64, 5)
    three = conv("branch3x3dbl_2", conv("branch3x3dbl_1", x, 64), 96, 3)
    three = conv("branch3x3dbl_3", three, 96, 3)
    return _join(one, five, three, conv("branch_pool", _average(x), pooled))


def _block_b(x: Tensor, conv: Conv) -> Tensor:
    three = conv("branch3x3", x, 384, 3, stride=2)
    double = conv("branch3x3dbl_2", conv("branch3x3dbl_1", x, 64), 96, 3)
    return _join(three, conv("branch3x3dbl_3", double, 96, 3, stride=2), _max(x))


def _block_c(x: Tensor, conv: Conv, inner: int) -> Tensor:
    one = conv("branch1x1", x, 192)
    seven = conv("branch7x7_2", conv("branch7x7_1", x, inner), inner, (1, 7))
    seven = conv("branch7x7_3", seven, 192, (7, 1))
    double = conv("branch7x7dbl_2", conv("branch7x7dbl_1", x, inner), inner, (7, 1))
    double = conv("branch7x7dbl_3", double, inner, (1, 7))
    double = conv("branch7x7dbl_5", conv("branch7x7dbl_4", double, inner, (7, 1)), 192, (1, 7))
    return _join(one, seven, double, conv("branch_pool", _average(x), 192))


def _block_d(x: Tensor, conv: Conv) -> Tensor:
    three = conv("branch3x3_2", conv("branch3x3_1", x, 192), 320, 3, stride=2)
    seven = conv("branch7x7x3_2", conv("branch7x7x3_1", x, 192), 192, (1, 7))
    seven = conv("branch7x7x3_3", seven, 192, (7, 1))
    return _join(three, conv("branch7x7x3_4", seven, 192, 3, stride=2), _max(x))


def _block_e(x: Tensor, conv: Conv, maxima: bool) -> Tensor:
    def split(name: str, y: Tensor) -> Tensor:
        return _join(conv(name + "a", y, 384, (1, 3)), conv(name + "b", y, 384, (3, 1)))

    one = conv("branch1x1", x, 320)
    three = split("branch3x3_2", conv("branch3x3_1", x, 384))
    double = split("branch3x3dbl_3", conv("branch3x3dbl_2", conv("branch3x3dbl_1", x, 448), 384, 3))
    pooled = ops.max_pool(x, 3, strides=1, padding="same") if maxima else _average(x)
    return _join(one, three, double, conv("branch_pool", pooled, 192))


def network(x: Tensor, conv: Conv) -> Tensor:
    """[B, 299, 299, 3] in [-1, 1) -> [B, 2048], before the classifier.

    Args:
      x: images.
      conv: (name, x, channels, kernel, stride, padding) -> convolution with bias, ReLU.
    """

    def block(name: str) -> Conv:
        return lambda part, *args, **options: conv(f"{name}.{part}", *args, **options)

    x = conv("Conv2d_1a_3x3", x, 32, 3, stride=2)
    x = conv("Conv2d_2a_3x3", x, 32, 3, padding="valid")
    x = _max(conv("Conv2d_2b_3x3", x, 64, 3))
    x = conv("Conv2d_4a_3x3", conv("Conv2d_3b_1x1", x, 80), 192, 3, padding="valid")
    x = _max(x)
    for name, pooled in (("5b", 32), ("5c", 64), ("5d", 64)):
        x = _block_a(x, block(f"Mixed_{name}"), pooled)
    x = _block_b(x, block("Mixed_6a"))
    for name, inner in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        x = _block_c(x, block(f"Mixed_{name}"), inner)
    x = _block_d(x, block("Mixed_7a"))
    x = _block_e(x, block("Mixed_7b"), maxima=False)
    x = _block_e(x, block("Mixed_7c"), maxima=True)
    return ops.mean(x, axis=(1, 2))


def _convolution(
    arrays: Mapping[str, Tensor], name: str, x: Tensor, *_: Any, stride: int = 1, padding: str = ""
) -> Tensor:
    """Convolution, bias and ReLU; the arrays determine channels and kernel size."""
    padding = padding or ("valid" if stride > 1 else "same")
    x = ops.conv(x, arrays[f"{name}/kernel"], strides=stride, padding=padding)
    return ops.relu(x + arrays[f"{name}/bias"])


def shapes() -> dict[str, tuple[int, ...]]:
    """Shapes of all arrays: kernels [height, width, in, out] and biases."""
    found: dict[str, tuple[int, ...]] = {}

    def record(
        name: str, x: Tensor, channels: int, kernel: int | tuple[int, int] = 1, **options: Any
    ) -> Tensor:
        sides = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        own = {f"{name}/kernel": (*sides, x.shape[-1], channels), f"{name}/bias": (channels,)}
        found.update(own)
        symbols = {key: keras.KerasTensor(shape) for key, shape in own.items()}
        return _convolution(symbols, name, x, **options)

    network(keras.KerasTensor((1, SIDE, SIDE, 3)), record)
    return found


@functools.lru_cache
def interpolation(size: int, legacy: bool) -> Array:
    """Matrix [299, size] of bilinear resizing without antialiasing.

    Args:
      size: side before resizing, in pixels.
      legacy: sample at i * size / 299, as TensorFlow 1 and the graph of 2015 do, instead
        of at pixel centres.
    """
    positions = np.arange(SIDE) * size / SIDE
    if not legacy:
        positions = np.maximum((np.arange(SIDE) + 0.5) * size / SIDE - 0.5, 0.0)
    low = np.minimum(np.floor(positions).astype(int), size - 1)
    high, share = np.minimum(low + 1, size - 1), positions - low
    matrix = np.zeros((SIDE, size))
    rows = np.arange(SIDE)
    np.add.at(matrix, (rows, low), 1 - share)
    np.add.at(matrix, (rows, high), share)
    return matrix.astype("float32")


def resized(images: Tensor, legacy: bool = True) -> Tensor:
    """[B, H, W, 3] -> [B, 299, 299, 3], bilinear."""
    rows, columns = (interpolation(n, legacy) for n in images.shape[1:3])
    return ops.einsum("ih,bhwc,jw->bijc", rows, images, columns)


def features(images: Array, arrays: Arrays, legacy: bool = True) -> Array:
    """uint8 [B, H, W, 3] -> float32 [B, 2048]."""
    x = (resized(np.float32(images), legacy) - 128.0) / 128.0
    return ops.convert_to_numpy(network(x, functools.partial(_convolution, arrays)))


def graph_extractor(path: str | os.PathLike[str]) -> Callable[[Array], Array]:
    """The published frozen graph as a function: uint8 [B, H, W, 3] -> float32 [B, 2048].

    Runs in TensorFlow, whatever the Keras backend. The graph itself resizes, as TensorFlow 1
    does. TensorFlow 2 does not support its batch normalisation op in functions, so each is
    replaced by elementary ops.
    """
    import tensorflow as tf

    with open(path, "rb") as file:
        graph = tf.compat.v1.GraphDef.FromString(file.read())
    graph = tf.compat.v1.graph_util.extract_sub_graph(_modern(graph), ["pool_3"])
    function = tf.compat.v1.wrap_function(
        lambda x: tf.import_graph_def(graph, {"ExpandDims:0": x}, ["pool_3:0"])[0],
        [tf.TensorSpec([None, None, None, 3], tf.float32)],
    )
    return lambda images: function(tf.cast(images, tf.float32)).numpy().reshape(len(images), -1)


def _modern(graph: Any) -> Any:
    """The GraphDef with BatchNormWithGlobalNormalization as elementary ops, equal bit for bit."""
    import tensorflow as tf

    result = tf.compat.v1.GraphDef()
    result.versions.producer = tf.version.GRAPH_DEF_VERSION
    for node in graph.node:
        if node.op != "BatchNormWithGlobalNormalization":
            result.node.add().CopyFrom(node)
            continue

        def add(op: str, suffix: str, *inputs: str, name: str = node.name) -> str:
            made = result.node.add(op=op, name=name + suffix, input=inputs)
            made.attr["T"].type = tf.float32.as_datatype_enum
            return made.name

        t, mean, variance, beta, gamma = node.input
        epsilon = result.node.add(op="Const", name=node.name + "/epsilon")
        epsilon.attr["dtype"].type = tf.float32.as_datatype_enum
        value = tf.make_tensor_proto(node.attr["variance_epsilon"].f, tf.float32)
        epsilon.attr["value"].tensor.CopyFrom(value)
        scale = add("Rsqrt", "/rsqrt", add("AddV2", "/variance", variance, epsilon.name))
        if node.attr["scale_after_normalization"].b:
            scale = add("Mul", "/scale", scale, gamma)
        centred = add("Sub", "/centred", t, mean)
        add("AddV2", "", add("Mul", "/scaled", centred, scale), beta)
    return result
