"""Image operations shared by models, losses and programs, in `keras.ops`.

Images are float32 NHWC in [-1, 1]; a pyramid is ordered from fine to coarse.
Nothing here keeps state, and every function accepts static or dynamic sizes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from keras import ops

from deblur_tf.base.types import Tensor

# ITU-R BT.601 luma, the grayscale of PIL, OpenCV and tf.image.
LUMA = (0.299, 0.587, 0.114)


def to_model_range(image: Tensor) -> Tensor:
    """Maps uint8 [0, 255] to float32 [-1, 1]."""
    return ops.cast(image, "float32") / 127.5 - 1.0


def to_uint8(image: Tensor) -> Tensor:
    """Maps float [-1, 1] to uint8 [0, 255]: clip, then round to nearest."""
    scaled = (ops.cast(image, "float32") + 1.0) * 127.5
    return ops.cast(ops.round(ops.clip(scaled, 0.0, 255.0)), "uint8")


def to_uint8_array(image: Tensor) -> np.ndarray:
    """`to_uint8` as a NumPy array."""
    return ops.convert_to_numpy(to_uint8(image))


def rgb_to_gray(image: Tensor) -> Tensor:
    """Luma of an RGB image.

    Args:
      image: [B, H, W, 3], any range.

    Returns:
      [B, H, W, 1] in the same range.
    """
    weights = ops.convert_to_tensor(np.array(LUMA, "float32"))
    return ops.sum(image * ops.cast(weights, image.dtype), axis=-1, keepdims=True)


def gray_where_gray(image: Tensor, reference: Tensor) -> Tensor:
    """The luma of each image of a batch whose reference is gray; the others as they are.

    A model gives a gray picture a tint of some levels, which has no place there.

    Args:
      image: float32 [B, H, W, 3].
      reference: float32 [B, H, W, 3]; gray if its channels are equal at every pixel.

    Returns:
      float32 [B, H, W, 3].
    """
    is_gray = ops.all(reference == reference[..., :1], axis=(1, 2, 3), keepdims=True)
    return ops.where(is_gray, rgb_to_gray(image), image)


def downsample(image: Tensor, factor: int) -> Tensor:
    """Antialiased area mean over `factor` x `factor` blocks.

    Args:
      image: [B, H, W, C] with H and W multiples of `factor`.
      factor: block side in pixels, 1 or more.

    Returns:
      [B, H / factor, W / factor, C].
    """
    if factor == 1:
        return image
    return ops.average_pool(image, factor, strides=factor, padding="valid")


def box_mean(image: Tensor, size: int) -> Tensor:
    """Mean over the `size` x `size` window around each pixel, clipped at the image's edges.

    [B, H, W, C] -> [B, H, W, C].
    """
    rows = ops.average_pool(image, (size, 1), strides=1, padding="same")
    return ops.average_pool(rows, (1, size), strides=1, padding="same")


def bands(image: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Frequency bands: the image minus its first box mean, the first minus the second, and so on.

    Args:
      image: [B, H, W, C].
      sizes: sides of the boxes in pixels, see `check_box_sizes`.

    Returns:
      One [B, H, W, C] per size; their sum plus the last box mean is `image`.
    """
    means = [image, *(box_mean(image, size) for size in sizes)]
    return [fine - coarse for fine, coarse in itertools.pairwise(means)]


def check_box_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """Returns the sizes as a tuple if they are increasing, odd and at least 3.

    Raises:
      ValueError: otherwise.
    """
    if list(sizes) != sorted(set(sizes)) or any(n < 3 or n % 2 == 0 for n in sizes):
        raise ValueError(f"box sizes must be increasing odd numbers from 3, got {tuple(sizes)}")
    return tuple(sizes)


def upsample_nearest(image: Tensor, factor: int = 2) -> Tensor:
    """Repeats each pixel `factor` times along height and width.

    [B, H, W, C] -> [B, H * factor, W * factor, C].
    """
    shape = ops.shape(image)
    height, width, channels = shape[1], shape[2], shape[3]
    tiled = ops.broadcast_to(
        image[:, :, None, :, None, :],
        (shape[0], height, factor, width, factor, channels),
    )
    return ops.reshape(tiled, (shape[0], height * factor, width * factor, channels))


def space_to_depth(image: Tensor, block: int) -> Tensor:
    """Moves each `block` x `block` square of pixels into the channels.

    [B, H, W, C] -> [B, H / block, W / block, block * block * C], in the order of
    rows, columns, channels; H and W are multiples of `block`.
    """
    if block == 1:
        return image
    shape = ops.shape(image)
    height, width, channels = shape[1] // block, shape[2] // block, image.shape[3]
    split = ops.reshape(image, (-1, height, block, width, block, channels))
    return ops.reshape(
        ops.transpose(split, (0, 1, 3, 2, 4, 5)), (-1, height, width, block * block * channels)
    )


def depth_to_space(image: Tensor, block: int) -> Tensor:
    """The inverse of `space_to_depth`: [B, h, w, block^2 C] -> [B, h block, w block, C]."""
    if block == 1:
        return image
    shape = ops.shape(image)
    height, width, channels = shape[1], shape[2], image.shape[3] // (block * block)
    split = ops.reshape(image, (-1, height, width, block, block, channels))
    return ops.reshape(
        ops.transpose(split, (0, 1, 3, 2, 4, 5)), (-1, height * block, width * block, channels)
    )


def rounded_up(size: Tensor, multiple: int) -> Tensor:
    """The next multiple: of numbers or tensors."""
    return (size + multiple - 1) // multiple * multiple


def _reflected_indices(size: Tensor, padded: Tensor, margin: int = 0) -> Tensor:
    """Indices 0, 1, ..., size-1, size-2, ..., 0, 1, ...: a triangle wave that starts at -margin.

    Unlike `pad(mode="reflect")` this also works for padding longer than the image.
    """
    period = ops.maximum(2 * (size - 1), 1)
    # The remainder of no negative number, which ONNX defines otherwise.
    position = (ops.arange(padded, dtype="int32") + margin * (period - 1)) % period
    return ops.where(position < size, position, period - position)


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Reflect-pads at the bottom and right to the next multiple.

    Args:
      image: [B, H, W, C], any H >= 1 and W >= 1.
      multiple: sizes become multiples of this.

    Returns:
      [B, H', W', C]; the tensor itself where nothing needs padding. Undo with
      `crop(result, H, W)`.
    """
    for axis in (1, 2):
        if image.shape[axis] is not None and image.shape[axis] % multiple == 0:
            continue
        size = ops.shape(image)[axis]
        indices = _reflected_indices(size, rounded_up(size, multiple))
        image = ops.take(image, indices, axis=axis)
    return image


def pad_to_size(image: Tensor, height: Tensor, width: Tensor, margin: int = 0) -> Tensor:
    """Reflect-pads an image to a size: `margin` pixels above and left, the rest below and right.

    [B, H, W, C] -> [B, height, width, C]; any H and W.
    """
    for axis, length in ((1, height), (2, width)):
        size = ops.shape(image)[axis]
        image = ops.take(image, _reflected_indices(size, length, margin), axis=axis)
    return image


def crop(image: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Top-left [B, height, width, C] part: the inverse of `pad_to_multiple`."""
    return image[:, :height, :width, :]
