"""Motion of a camera and of objects during an exposure, in NumPy and SciPy alone.

A path is the motion of the picture over the exposure, in pixels: float64 [N, 2], rows and
columns, with mean zero. The mean is the position of the sharp picture, so restoring a blurry
picture never has to shift it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy import fft, ndimage

from deblur_tf.data.blur import EXPONENTS, NUM_POINTS, rasterize, shake_trajectory

# Shares and ranges in pixels of the extent of a path, as measured in least-squares kernels of
# genuine GoPro pairs: 4 to 42 pixels.
EXTENTS = ((0.05, 0.0, 0.0), (0.45, 0.0, 12.0), (0.35, 12.0, 25.0), (0.15, 25.0, 40.0))
MAX_SUPPORT = 61
# In pixels: if paths vary by less than the first along an axis of a crop, one kernel serves the
# whole axis; otherwise neighbouring nodes of the kernel grid differ by at most the second.
UNIFORM_BELOW, LARGEST_DIFFERENCE = 1.0, 2.5


def random_extent(
    rng: np.random.Generator, extents: Sequence[tuple[float, float, float]] = EXTENTS
) -> float:
    """Draws the extent of a path in pixels from a mixture of (share, low, high) ranges."""
    _, low, high = extents[rng.choice(len(extents), p=[share for share, _, _ in extents])]
    return rng.uniform(low, high)


def random_path(rng: np.random.Generator, straight: float = 0.5) -> np.ndarray:
    """A random path of extent 1, either nearly straight or hand tremor.

    A nearly straight path is a line in a random direction, bent a little, whose speed varies by
    up to a half: a camera that pans, or an object that passes.

    Args:
      rng: source of randomness.
      straight: probability of a nearly straight path.

    Returns:
      float64 [N, 2], mean 0.
    """
    if rng.uniform() >= straight:
        path = shake_trajectory(rng, exponent=rng.uniform(*EXPONENTS))
    else:
        time = np.linspace(0.0, 1.0, NUM_POINTS)
        speed, phase = rng.uniform(0.0, 0.5), rng.uniform(0.0, 2.0 * np.pi)
        along = time + speed * np.sin(2.0 * np.pi * time + phase) / (2.0 * np.pi)
        bend = 0.15 * rng.standard_normal() * (2.0 * time - 1.0) ** 2
        tremor = 0.08 * rng.uniform() * shake_trajectory(rng)
        angle = rng.uniform(0.0, 2.0 * np.pi)
        cos, sin = np.cos(angle), np.sin(angle)
        path = np.stack([along, bend], axis=1) @ np.array([[cos, sin], [-sin, cos]]) + tremor
        path = path / np.ptp(path, axis=0).max()
    return path - path.mean(axis=0)


@dataclasses.dataclass(frozen=True)
class Motion:
    """The motion of a picture over the exposure.

    A pixel at p, in pixels from the centre of the frame, moves by
    shift(t) + roll(t) * (-p_column, p_row) + zoom(t) * p.

    Attributes:
      shift: [N, 2] in pixels, mean 0.
      roll: [N] in radians, mean 0.
      zoom: [N], relative, mean 0.
    """

    shift: np.ndarray
    roll: np.ndarray
    zoom: np.ndarray

    def path(self, place: np.ndarray) -> np.ndarray:
        """The path of a pixel at `place`, [2]: float64 [N, 2]."""
        turned = np.array([-place[1], place[0]])
        return self.shift + self.roll[:, None] * turned + self.zoom[:, None] * place

    def variation(self, length: float) -> float:
        """Largest difference in pixels between the paths of two pixels `length` pixels apart."""
        return length * (np.ptp(self.roll) + np.ptp(self.zoom))


def random_motion(
    rng: np.random.Generator,
    extent: float,
    straight: float,
    edge: float,
    frame: tuple[int, int],
) -> Motion:
    """Shift of a given extent, with roll and zoom that move the frame's edge by up to `edge`.

    Args:
      rng: source of randomness.
      extent: extent of the shift in pixels.
      straight: probability of a nearly straight path.
      edge: largest displacement in pixels, by roll and by zoom each, of the middle of the
        frame's left and right edge; it is zero if the shift is.
      frame: height and width of the frame in pixels.
    """
    shift = extent * random_path(rng, straight)
    scale = edge * min(extent / 12.0, 1.0) / (frame[1] / 2)
    roll, zoom = (
        scale * rng.uniform() * random_path(rng, straight)[: len(shift), 0] for _ in range(2)
    )
    return Motion(shift, roll - roll.mean(), zoom - zoom.mean())


def kernel_grid(
    motion: Motion, centre: np.ndarray, size: tuple[int, int], support: int = MAX_SUPPORT
) -> np.ndarray:
    """Kernels on a grid over a crop, fine enough that neighbours differ by few pixels.

    Args:
      motion: motion of the picture.
      centre: centre of the crop, in pixels from the centre of the frame: [2].
      size: height and width of the crop in pixels.
      support: side of the kernels, odd; paths that leave it are scaled down to fit.

    Returns:
      float32 [m, n, support, support], each of sum 1. The first and the last node of an axis lie
      on the edges of the crop; an axis along which the blur hardly varies has one node.
    """
    nodes, places = [], []
    for length in size:
        variation = motion.variation(length)
        count = 1 if variation < UNIFORM_BELOW else 1 + math.ceil(variation / LARGEST_DIFFERENCE)
        nodes.append(count)
        places.append(np.linspace(-0.5, 0.5, count) * length if count > 1 else np.zeros(1))
    kernels = np.empty((*nodes, support, support), np.float32)
    for i, row in enumerate(places[0]):
        for j, column in enumerate(places[1]):
            path = motion.path(centre + np.array([row, column]))
            reach = np.abs(path).max()
            path = path * min(1.0, (support // 2) / max(reach, 1e-9))
            kernels[i, j] = rasterize(path, support)
    return kernels


def blurred(image: np.ndarray, kernels: np.ndarray, defocus: float = 0.0) -> np.ndarray:
    """Convolves an image with kernels that vary over it, blended bilinearly between nodes.

    Args:
      image: float32 [H, W, C].
      kernels: from `kernel_grid`, [m, n, s, s].
      defocus: standard deviation in pixels of an additional Gaussian blur.

    Returns:
      float32 [H - s + 1, W - s + 1, C]: only where the kernels fit.
    """
    rows, columns, support = kernels.shape[:3]
    height, width = image.shape[:2]
    size = [fft.next_fast_len(n, real=True) for n in (height, width)]
    spectrum = fft.rfft2(np.moveaxis(image, 2, 0), size)
    if defocus:
        squared = fft.fftfreq(size[0])[:, None] ** 2 + fft.rfftfreq(size[1]) ** 2
        spectrum *= np.exp(-2.0 * (np.pi * defocus) ** 2 * squared).astype(np.float32)
    inner = (slice(None), slice(support - 1, height), slice(support - 1, width))
    total: np.ndarray | None = None
    row_weights = _hat_weights(height - support + 1, rows)
    column_weights = _hat_weights(width - support + 1, columns)
    for i, row_kernels in enumerate(kernels):
        for j, kernel in enumerate(row_kernels):
            part = fft.irfft2(spectrum * fft.rfft2(kernel, size), size)[inner]
            if rows == columns == 1:
                return np.moveaxis(part, 0, 2)
            part *= row_weights[i][:, None] * column_weights[j]
            total = part if total is None else total + part
    return np.moveaxis(np.asarray(total), 0, 2)


def _hat_weights(count: int, nodes: int) -> np.ndarray:
    """Bilinear weights of `nodes` nodes along an axis: float32 [nodes, count], sum 1."""
    position = (np.arange(count, dtype=np.float32) + 0.5) / count * (nodes - 1)
    distance = np.abs(position - np.arange(nodes, dtype=np.float32)[:, None])
    return np.maximum(1.0 - distance, 0.0)


def random_mask(rng: np.random.Generator, size: tuple[int, int], share: float) -> np.ndarray:
    """A smooth random shape, 1 inside and 0 outside with an edge of about a pixel.

    Args:
      rng: source of randomness.
      size: height and width in pixels.
      share: share of the rectangle that is inside the shape, in (0, 1).

    Returns:
      float32 [height, width] in [0, 1].
    """
    coarse = [max(n // 8, 4) for n in size]
    scale = rng.uniform(0.12, 0.3) * min(coarse)
    field = ndimage.gaussian_filter(rng.standard_normal(coarse), scale, mode="reflect")
    zoom = [n / c for n, c in zip(size, coarse, strict=True)]
    field = ndimage.zoom(field, zoom, order=1, mode="nearest", grid_mode=True)
    field = ndimage.gaussian_filter(field, 2.0)
    level = np.quantile(field, 1.0 - share)
    slope = np.hypot(*np.gradient(field)) + 1e-12
    return np.clip((field - level) / slope + 0.5, 0.0, 1.0).astype(np.float32)
