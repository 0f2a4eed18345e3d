"""Synthetic camera shake and noise (DvSR app. C), in NumPy and SciPy alone.

DvSR blurs with random camera-shake kernels of at most 31x31 pixels, "from a
perfect Delta to about 30 pixels", following Delbracio & Sapiro (2015), whose
generator is not public. This one models hand tremor as they do: position over
the exposure is random motion with a power spectrum that falls with frequency.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

MAX_SUPPORT = 31
MARGIN = (MAX_SUPPORT - 1) // 2  # pixels that must be known around the area to blur

NUM_POINTS = 256  # points of a trajectory
PERIOD = 4  # period of the motion, in lengths of a trajectory
EXPONENTS = (1.2, 1.8)  # range of the spectrum's exponent for random kernels
MIN_SQUASH = 0.25  # anisotropy up to 4:1


def shake_trajectory(
    rng: np.random.Generator, num_points: int = NUM_POINTS, exponent: float = 1.5
) -> np.ndarray:
    """A hand-shake trajectory: two coordinates with amplitude ~ 1 / f^exponent.

    Args:
      rng: source of randomness.
      num_points: samples over the exposure.
      exponent: exponent of the amplitude spectrum; 1 is jittery, 2 is smooth drift.

    Returns:
      float64 [num_points, 2]; extent (the longer side of its bounding box) 1.
    """
    waves = rng.standard_normal((2, 2, PERIOD * num_points // 2))
    squash, angle = rng.uniform(MIN_SQUASH, 1.0), rng.uniform(0.0, 2.0 * np.pi)
    return trajectory(waves, exponent, squash, angle)


def trajectory(waves: np.ndarray, exponent: float, squash: float, angle: float) -> np.ndarray:
    """Computes a trajectory from its random numbers.

    It is a window of a periodic motion `PERIOD` times as long, so that it need not close,
    squeezed in one direction, since hands prefer one, and rotated.

    Args:
      waves: standard normal, real and imaginary parts of both coordinates' spectra,
        [2, 2, PERIOD * num_points / 2].
      exponent: exponent of the amplitude spectrum.
      squash: factor by which the second coordinate is squeezed.
      angle: angle of the rotation, in radians.

    Returns:
      float64 [num_points, 2] of extent 1.
    """
    count = waves.shape[-1]
    waves = waves * np.arange(1, count + 1).astype(np.float64) ** -exponent
    spectrum = np.zeros((2, count + 1), np.complex128)
    spectrum[:, 1:] = waves[0] + 1j * waves[1]
    path = fft.irfft(spectrum, 2 * count, axis=1)[:, : 2 * count // PERIOD].T
    cos, sin = np.cos(angle), np.sin(angle)
    path = path @ (np.diag([1.0, squash]) @ np.array([[cos, -sin], [sin, cos]]))
    return path / np.ptp(path, axis=0).max()


def rasterize(path: np.ndarray, support: int = MAX_SUPPORT) -> np.ndarray:
    """Splats a trajectory in pixels bilinearly into a kernel that sums to 1.

    The centroid of the exposure falls on the centre of the kernel, so that
    blurring does not shift the picture. If the path would then leave the support,
    it is moved inside.

    Args:
      path: [N, 2] positions in pixels; extent at most `support` - 1.
      support: side of the kernel, odd.

    Returns:
      float32 [support, support], non-negative, sum 1.
    """
    radius = (support - 1) / 2
    low, high = path.min(axis=0), path.max(axis=0)
    if np.any(high - low > support - 1):
        raise ValueError(f"the path spans {(high - low).max():.1f} px, more than {support - 1}")
    offset = np.clip(-path.mean(axis=0), -radius - low, radius - high)
    position = np.clip(path + offset + radius, 0.0, support - 1)
    base = np.minimum(position.astype(np.int64), support - 2)
    weight = position - base
    kernel = np.zeros((support, support))
    for dy in (0, 1):
        for dx in (0, 1):
            part = np.abs(1 - dy - weight[:, 0]) * np.abs(1 - dx - weight[:, 1])
            np.add.at(kernel, (base[:, 0] + dy, base[:, 1] + dx), part)
    return (kernel / kernel.sum()).astype(np.float32)


def random_kernel(
    rng: np.random.Generator,
    max_extent: float = 30.0,
    support: int = MAX_SUPPORT,
    mildness: float = 1.0,
) -> np.ndarray:
    """A random camera-shake kernel, from a delta up to `max_extent` pixels.

    Args:
      rng: source of randomness.
      max_extent: the extent of the path is uniform in [0, max_extent] pixels;
        0 gives the delta.
      support: side of the kernel, odd.
      mildness: the extent is max_extent * u^mildness, u uniform in [0, 1]: above 1,
        mild shake is drawn more often.

    Returns:
      float32 [support, support], non-negative, sum 1.

    Raises:
      ValueError: if `support` is even or too small for `max_extent`.
    """
    if support % 2 == 0 or not 0.0 <= max_extent <= support - 1:
        raise ValueError(
            f"need an odd support above max_extent >= 0, got {support} and {max_extent}"
        )
    extent = max_extent * rng.uniform() ** mildness
    path = shake_trajectory(rng, exponent=rng.uniform(*EXPONENTS))
    return rasterize(extent * path, support)


def convolve(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """True convolution of each channel, only where the kernel fits ("valid").

    Args:
      image: float [H, W, C].
      kernel: [k, l].

    Returns:
      float32 [H - k + 1, W - l + 1, C].
    """
    height, width = image.shape[:2]
    rows, columns = kernel.shape
    size = [fft.next_fast_len(n, real=True) for n in (height, width)]
    product = fft.rfft2(image.astype(np.float32), size, axes=(0, 1))
    product *= fft.rfft2(kernel.astype(np.float32), size)[:, :, None]
    full = fft.irfft2(product, size, axes=(0, 1))
    return full[rows - 1 : height, columns - 1 : width]


def add_noise(
    image: np.ndarray,
    rng: np.random.Generator,
    max_stddev: float = 15.0,
    mildness: float = 1.0,
) -> np.ndarray:
    """Adds white Gaussian noise; on a scale of 255 its stddev is max_stddev * u^mildness.

    u is uniform in [0, 1].
    """
    stddev = max_stddev * rng.uniform() ** mildness
    return image + stddev * rng.standard_normal(image.shape, dtype=np.float32)


def degrade(
    sharp: np.ndarray,
    rng: np.random.Generator,
    max_extent: float = 30.0,
    max_stddev: float = 15.0,
    mildness: float = 1.0,
) -> np.ndarray:
    """Blurs a sharp picture: random shake, then noise, then rounding to 8 bits.

    Args:
      sharp: uint8 [H + 30, W + 30, C], the area to blur with a margin of 15 px
        around it (`MARGIN`).
      rng: source of randomness.
      max_extent: see `random_kernel`.
      max_stddev: see `add_noise`.
      mildness: used for both, see `random_kernel`.

    Returns:
      uint8 [H, W, C].
    """
    blurry = convolve(sharp, random_kernel(rng, max_extent, mildness=mildness))
    noisy = add_noise(blurry, rng, max_stddev, mildness)
    return np.round(np.clip(noisy, 0.0, 255.0)).astype(np.uint8)
