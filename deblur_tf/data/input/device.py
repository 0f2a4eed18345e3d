"""Training pairs made on the device that runs the model, in `keras.ops` alone.

The images are arrays on the device, and a batch is computed from the numbers of its pairs:
with JAX inside the compiled steps, with TensorFlow in tf.data's graph. No host process
decodes, blurs or copies anything. The pairs have the same distribution as those of
`data.pairs`; tests compare the formulas with the same ones in NumPy, in `data.blur`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops
from scipy import fft

from deblur_tf.base.errors import DataError
from deblur_tf.base.registry import configurable, resumable
from deblur_tf.base.types import Tensor
from deblur_tf.data import blur
from deblur_tf.data.augment import extended
from deblur_tf.data.blur import MARGIN
from deblur_tf.data.folders import find_pairs
from deblur_tf.data.pair_source import DevicePairSource
from deblur_tf.data.pairs import SyntheticPairs
from deblur_tf.numerics import noise

DeviceArrays = Mapping[str, Tensor]
Pairs = tuple[Tensor, Tensor]

# The largest array of images that is put on a device.
MAX_BYTES = 8 << 30

# Streams of random numbers of one pair.
_IMAGE, _TOP, _LEFT, _FLIPS, _WAVES, _EXPONENT, _SQUASH, _ANGLE = range(1, 9)
_EXTENT, _GRAIN, _STDDEV, _SOURCE = range(9, 13)


class _DevicePairs(DevicePairSource):
    """Adds single pairs by number, for validation, which needs only a few."""

    _held: dict[str, np.ndarray] | None = None

    def __call__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Pair number `index`: blurry and sharp, uint8 [crop, crop, 3] each."""
        if self._held is None:
            self._held = self.arrays()
        numbers = ops.convert_to_tensor([index & 0x7FFFFFFF], dtype="int32")
        pair = self.make(self._held, numbers, stream=index >> 31)
        return tuple(ops.convert_to_numpy(image[0]) for image in pair)


@configurable
@resumable("photos")
class DevicePairs(_DevicePairs, SyntheticPairs):
    """As `PairGenerator`: random crops of photos, blurred by random camera shake.

    Args: see `pairs.SyntheticPairs`.
    """

    def describe(self) -> str:
        """A phrase for the first line that a run prints."""
        return f"{super().describe()}, made on the device"

    def arrays(self) -> dict[str, np.ndarray]:
        """See `stack`; photos smaller than a crop with its margin are extended by reflection.

        Raises:
          DataError: if a photo cannot be read, or all photos together are too large.
        """
        side = self.crop_size + 2 * MARGIN
        images = [self.photos[i] for i in range(len(self.photos))]
        return stack([extended(image, side) for image in images])

    def make(self, arrays: DeviceArrays, numbers: Tensor, stream: int = 0) -> Pairs:
        """See `DevicePairSource.make`."""
        keys = _keys(self.seed, stream, numbers)
        window = random_windows(arrays, keys, self.crop_size + 2 * MARGIN)
        kernel = random_kernels(keys, self.max_extent, self.mildness)
        blurry = convolve(ops.cast(window, "float32"), kernel)
        grain = noise.normal(noise.fold_in(keys, _GRAIN), self.crop_size, self.crop_size, 3)
        stddev = self.max_stddev * _uniform(keys, _STDDEV) ** self.mildness
        blurry = blurry + stddev[:, None, None, None] * grain
        blurry = ops.cast(ops.round(ops.clip(blurry, 0.0, 255.0)), "uint8")
        return blurry, window[:, MARGIN:-MARGIN, MARGIN:-MARGIN]


@configurable
class DeviceFolderPairs(_DevicePairs):
    """Random crops of genuine pairs in folders, flipped and rotated.

    Args:
      root: folder of pairs, see `folders.find_pairs`.
      crop_size: side of a pair in pixels.
      seed: with the number, decides everything about a pair.
    """

    reads = "pairs"

    def __init__(
        self,
        root: str | os.PathLike[str],
        crop_size: int = 128,
        seed: int = 0,
    ):
        self.files = find_pairs(root)
        self.root = root
        self.crop_size = crop_size
        self.seed = seed

    def describe(self) -> str:
        """A phrase for the first line that a run prints."""
        return f"{len(self.files)} pairs of {self.root}, cropped on the device"

    def arrays(self) -> dict[str, np.ndarray]:
        """See `stack`; blurry and sharp image side by side in six channels.

        Raises:
          DataError: if a pair cannot be read or is smaller than a crop, or all pairs
            together are too large.
        """
        images = []
        for files in self.files:
            both = np.concatenate(files.read(), axis=-1)
            if min(both.shape[:2]) < self.crop_size:
                raise DataError(
                    f"{files.sharp}: {both.shape[1]}x{both.shape[0]} is smaller than the crop "
                    f"size {self.crop_size}"
                )
            images.append(both)
        return stack(images)

    def make(self, arrays: DeviceArrays, numbers: Tensor, stream: int = 0) -> Pairs:
        """See `DevicePairSource.make`."""
        both = random_windows(arrays, _keys(self.seed, stream, numbers), self.crop_size)
        return both[..., :3], both[..., 3:]


@configurable
class DeviceMix(_DevicePairs):
    """Pairs of one source, mixed with a share of pairs of another.

    Args:
      first, second: build the sources, which must have the same crop size.
      share: share of pairs of `second`, from 0 to 1; keep it small for a few genuine pairs of
        one scene.
      seed: decides which source makes which pair.
    """

    def __init__(
        self,
        first: Callable[[], DevicePairSource],
        second: Callable[[], DevicePairSource],
        share: float = 0.05,
        seed: int = 0,
    ):
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"DeviceMix: share must be from 0 to 1, got {share}")
        self.sources = (first(), second())
        sizes = {source.crop_size for source in self.sources}
        if len(sizes) > 1:
            raise ValueError(f"DeviceMix: both sources need one crop size, got {sorted(sizes)}")
        self.crop_size = self.sources[0].crop_size
        self.share = share
        self.seed = seed

    def describe(self) -> str:
        """A phrase for the first line that a run prints."""
        first, second = (source.describe() for source in self.sources)
        return f"{first}, and {100 * self.share:g} % of {second}"

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays of both sources."""
        return {
            f"{i}/{name}": array
            for i, source in enumerate(self.sources)
            for name, array in source.arrays().items()
        }

    def make(self, arrays: DeviceArrays, numbers: Tensor, stream: int = 0) -> Pairs:
        """See `DevicePairSource.make`; both sources make each pair, and one of the two is used."""
        made = [
            source.make({n[2:]: a for n, a in arrays.items() if n[0] == str(i)}, numbers, stream)
            for i, source in enumerate(self.sources)
        ]
        second = _uniform(_keys(self.seed, stream, numbers), _SOURCE) < self.share
        second = second[:, None, None, None]
        return tuple(ops.where(second, b, a) for a, b in zip(*made, strict=True))


def stack(images: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Puts images of any size into one array.

    Args:
      images: uint8 [H, W, C] each.

    Returns:
      "pixels": uint8 [N, max H, max W, C], padded with zeros that no crop reaches;
      "sizes": int32 [N, 2], heights and widths.

    Raises:
      DataError: if the array would be too large.
    """
    sizes = np.array([image.shape[:2] for image in images], np.int32)
    shape = (len(images), *sizes.max(axis=0), images[0].shape[2])
    if math.prod(shape) > MAX_BYTES or math.prod(shape[:3]) >= 2**31:
        raise DataError(
            f"{len(images)} images take {math.prod(shape) / 2**30:.1f} GiB on the device, more "
            f"than {MAX_BYTES / 2**30:.1f} GiB; use fewer or smaller ones, or pairs "
            "made on the host (PairGenerator)"
        )
    pixels = np.zeros(shape, np.uint8)
    for target, image in zip(pixels, images, strict=True):
        target[: image.shape[0], : image.shape[1]] = image
    return {"pixels": pixels, "sizes": sizes}


def random_windows(arrays: DeviceArrays, keys: Tensor, side: int) -> Tensor:
    """Random `side` x `side` windows in one of eight orientations.

    Args:
      arrays: from `stack`.
      keys: uint32 [B, 2], one per pair.
      side: side of the windows in pixels, at most the size of the smallest image.

    Returns:
      uint8 [B, side, side, C].
    """
    pixels, sizes = arrays["pixels"], arrays["sizes"]
    count, height, width, channels = pixels.shape
    image = _below(_uniform(keys, _IMAGE), count)
    size = ops.take(sizes, image, axis=0)
    top = _below(_uniform(keys, _TOP), size[:, 0] - side + 1)
    left = _below(_uniform(keys, _LEFT), size[:, 1] - side + 1)
    code = _below(_uniform(keys, _FLIPS), 8)[:, None, None]

    def bit(n: int) -> Tensor:
        return ops.equal((code // 2**n) % 2, 1)

    # The orientation is applied while reading: rows and columns swapped, each maybe reversed.
    index = np.arange(side, dtype=np.int32)
    i, j = index[None, :, None], index[None, None, :]
    i = ops.where(bit(1), side - 1 - i, i)
    j = ops.where(bit(2), side - 1 - j, j)
    row, column = ops.where(bit(0), j, i), ops.where(bit(0), i, j)
    first = ((image * height + top) * width + left)[:, None, None]
    return ops.take(ops.reshape(pixels, (-1, channels)), first + row * width + column, axis=0)


def random_kernels(keys: Tensor, max_extent: float, mildness: float = 1.0) -> Tensor:
    """`blur.random_kernel` for each key: float32 [B, 31, 31], sum 1."""
    low, high = blur.EXPONENTS
    count = blur.PERIOD * blur.NUM_POINTS // 2
    path = trajectories(
        noise.normal(noise.fold_in(keys, _WAVES), 2, count, 2),
        low + (high - low) * _uniform(keys, _EXPONENT),
        blur.MIN_SQUASH + (1.0 - blur.MIN_SQUASH) * _uniform(keys, _SQUASH),
        2.0 * math.pi * _uniform(keys, _ANGLE),
    )
    extent = max_extent * _uniform(keys, _EXTENT) ** mildness
    return rasterize(extent[:, None, None] * path)


def trajectories(waves: Tensor, exponent: Tensor, squash: Tensor, angle: Tensor) -> Tensor:
    """`blur.trajectory` for a batch: [B, 2 (re, im), N, 2 (x, y)], [B] -> [B, points, 2]."""
    count = waves.shape[2]
    logarithms = np.log(np.arange(1, count + 1)).astype(np.float32)
    amplitude = ops.exp(-exponent[:, None] * logarithms)
    waves = ops.transpose(waves * amplitude[:, None, :, None], (0, 1, 3, 2))
    waves = ops.pad(waves, ((0, 0), (0, 0), (0, 0), (1, 0)))  # no constant part
    path = ops.irfft((waves[:, 0], waves[:, 1]), 2 * count)[..., : 2 * count // blur.PERIOD]
    cos, sin = ops.cos(angle)[:, None], ops.sin(angle)[:, None]
    x, y = path[:, 0], path[:, 1] * squash[:, None]
    path = ops.stack([x * cos + y * sin, y * cos - x * sin], axis=-1)
    span = ops.max(path, axis=1) - ops.min(path, axis=1)
    return path / ops.max(span, axis=1)[:, None, None]


def rasterize(path: Tensor) -> Tensor:
    """`blur.rasterize` for a batch: [B, points, 2] in pixels -> [B, 31, 31].

    Bilinear splatting is a product of hat functions: one matrix product per kernel.
    """
    radius = (blur.MAX_SUPPORT - 1) / 2
    low, high = ops.min(path, axis=1), ops.max(path, axis=1)
    offset = ops.clip(-ops.mean(path, axis=1), -radius - low, radius - high)
    position = ops.clip(path + (offset + radius)[:, None], 0.0, 2 * radius)
    cells = np.arange(blur.MAX_SUPPORT, dtype=np.float32)
    hat = ops.relu(1.0 - ops.abs(position[..., None] - cells))
    kernel = ops.matmul(ops.transpose(hat[:, :, 0], (0, 2, 1)), hat[:, :, 1])
    return kernel / ops.sum(kernel, axis=(1, 2), keepdims=True)


def convolve(image: Tensor, kernel: Tensor) -> Tensor:
    """`blur.convolve` for a batch: [B, H, W, 3], [B, k, k] -> [B, H - k + 1, W - k + 1, 3].

    Uses complex Fourier transforms, two real channels in each.
    """
    height, width, support = image.shape[1], image.shape[2], kernel.shape[1]
    size = [fft.next_fast_len(n, real=True) for n in (height, width)]

    def padded(x: Tensor) -> Tensor:
        last = tuple((0, n - have) for n, have in zip(size, x.shape[-2:], strict=True))
        return ops.pad(x, ((0, 0),) * (len(x.shape) - 2) + last)

    channels = padded(ops.transpose(image, (0, 3, 1, 2)))
    zero = ops.zeros_like(channels[:, 0])
    real = ops.stack([channels[:, 0], channels[:, 2]], axis=1)
    imaginary = ops.stack([channels[:, 1], zero], axis=1)
    a, b = ops.fft2((real, imaginary))
    c, d = (part[:, None] for part in ops.fft2((padded(kernel), zero)))
    real, imaginary = ops.ifft2((a * c - b * d, a * d + b * c))
    full = ops.stack([real[:, 0], imaginary[:, 0], real[:, 1]], axis=-1)
    return full[:, support - 1 : height, support - 1 : width]


def _keys(seed: int, stream: int, numbers: Tensor) -> Tensor:
    """One key per pair, uint32 [B, 2]."""
    return noise.fold_in(noise.fold_in(noise.make_key(seed), stream)[None], numbers)


def _uniform(keys: Tensor, stream: int) -> Tensor:
    return noise.uniform(noise.fold_in(keys, stream))


def _below(fraction: Tensor, count: Any) -> Tensor:
    """Maps a draw from U(0, 1) to a whole number in [0, count), int32."""
    scaled = ops.cast(fraction * ops.cast(count, "float32"), "int32")
    return ops.minimum(scaled, ops.cast(count, "int32") - 1)
