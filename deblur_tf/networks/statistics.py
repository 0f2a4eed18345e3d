"""Statistics of an image from which its blur and noise can be estimated. Not from the papers.

Where the blur is uniform, the evidence of it is spread over the whole image and does not depend
on position: correlations of the gradient with itself determine the magnitude of the kernel's
spectrum, correlations with a power of itself also the phase, since sharp gradients are sparse
and blur and noise make them Gaussian.
"""

from __future__ import annotations

import numpy as np
from keras import ops

from deblur_tf.base.types import ComplexParts, Tensor
from deblur_tf.numerics import fourier, image_ops

# Correlations are taken at distances up to this in rows and columns: kernels of up to
# 31x31 pixels correlate with themselves that far.
MAX_LAG = 31
# Side of the maps of statistics: 2 * MAX_LAG + 1 plus a row and a column of zeros.
SIDE = 64
# Number of statistics: 18 correlations and two cepstra. `FLIPPED` and `SWAPPED` say how their
# order changes when the image is mirrored, or when its rows and columns are swapped.
CHANNELS = 20
# Channels of `evidence`: statistics of a window and of the whole image, and the number of windows.
EVIDENCE = 2 * CHANNELS + 1
ORIENTATIONS = 8
FLIPPED = [0, 1, 3, 2, 4, 5, 7, 6, 8, 9, 11, 10, *range(12, 20)]
SWAPPED = [1, 0, 2, 3, 5, 4, 6, 7, 9, 8, 10, 11, 13, 12, 15, 14, *range(16, 20)]
# Side of the windows whose power spectra are averaged.
WINDOW = 128
# Sizes of Fourier transforms are multiples of this.
FFT_MULTIPLE = 32
# Weight of the whole image's statistics relative to a window's own.
GLOBAL_WEIGHT = 0.3


def _fft_real(images: Tensor) -> ComplexParts:
    """Fourier transforms of real [B, C, H, W], C even: one complex transform for two maps."""
    first, second = images[:, 0::2], images[:, 1::2]
    real, imaginary = fourier.fft2((first, second))
    # Spectra of real maps are Hermitian, so the Hermitian part of the spectrum of a + ib is the
    # spectrum of a, and the rest, divided by i, is the spectrum of b.
    back_real, back_imaginary = _reversed(real), _reversed(imaginary)
    a = (real + back_real, imaginary - back_imaginary)
    b = (imaginary + back_imaginary, back_real - real)
    return tuple(
        ops.reshape(
            ops.stack([x, y], axis=2) / 2.0,
            (-1, images.shape[1], *ops.shape(images)[2:]),
        )
        for x, y in zip(a, b, strict=True)
    )


def _reversed(spectrum: Tensor) -> Tensor:
    """The spectrum at -f."""
    return ops.roll(ops.flip(spectrum, (-2, -1)), (1, 1), (-2, -1))


def _inverse_real(real: Tensor, imaginary: Tensor) -> Tensor:
    """The inverse of `_fft_real`: from spectra to real maps [B, C, H, W], C even."""
    a = (real[:, 0::2], imaginary[:, 0::2])
    b = (real[:, 1::2], imaginary[:, 1::2])
    result = fourier.ifft2((a[0] - b[1], a[1] + b[0]))
    return ops.reshape(ops.stack(result, axis=2), (-1, real.shape[1], *ops.shape(real)[2:]))


def _zero_padded(images: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """[B, C, h, w] with zeros at the bottom and right up to [B, C, height, width]."""
    shape = ops.shape(images)
    rows = ops.zeros((shape[0], images.shape[1], height - shape[2], shape[3]))
    images = ops.concatenate([images, rows], axis=2)
    columns = ops.zeros((shape[0], images.shape[1], height, width - shape[3]))
    return ops.concatenate([images, columns], axis=3)


def _around_zero(images: Tensor) -> Tensor:
    """Distances -MAX_LAG to MAX_LAG of periodic maps: [B, C, H, W] -> [B, C, n, n], n odd."""
    images = ops.concatenate([images[:, :, -MAX_LAG:], images[:, :, : MAX_LAG + 1]], axis=2)
    return ops.concatenate([images[:, :, :, -MAX_LAG:], images[:, :, :, : MAX_LAG + 1]], axis=3)


def gradients(gray: Tensor) -> Tensor:
    """Seven derivatives of a gray image, scaled to unit RMS, as `correlations` needs them.

    Args:
      gray: float32 [B, H, W], sides 8 or more.

    Returns:
      float32 [B, 7, H - 4, W - 4]. First, after a binomial 3x3 smoothing: along x, y and
      the two diagonals; then, without smoothing, differences of pixels two apart along x and y;
      last, with smoothing, the Laplacian.
    """
    rows = gray[:, :-2] + 2.0 * gray[:, 1:-1] + gray[:, 2:]
    smooth = (rows[:, :, :-2] + 2.0 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 16.0
    centre = smooth[:, 1:-1, 1:-1]
    above, left = smooth[:, :-2, 1:-1], smooth[:, 1:-1, :-2]
    corner = smooth[:, :-2, :-2]
    across, down = centre - left, centre - above
    stack = [
        (across + above - corner) / 2.0,
        (down + left - corner) / 2.0,
        centre - corner,
        left - above,
        gray[:, 2:-2, 3:-1] - gray[:, 2:-2, 1:-3],
        gray[:, 3:-1, 2:-2] - gray[:, 1:-3, 2:-2],
        4.0 * centre - above - left - smooth[:, 2:, 1:-1] - smooth[:, 1:-1, 2:],
    ]
    stack = ops.stack(stack, axis=1)
    rms = ops.sqrt(ops.mean(ops.square(stack), axis=(2, 3), keepdims=True))
    return stack / (rms + 1e-6)


def correlations(gray: Tensor) -> Tensor:
    """Correlations of gradients with themselves and with powers of themselves.

    For each g of `gradients`, the mean over x of f(g(x)) g(x + d) for distances d of up to
    `MAX_LAG`: f(g) = g, |g| g and g^3 (g clipped to [-5, 5]) for the first four, g and |g| g for
    the next two, |g| g and g^2 for the Laplacian.

    Args:
      gray: float32 [B, H, W], sides 8 or more.

    Returns:
      float32 [B, 18, 63, 63], distance zero in the centre.
    """
    g = gradients(gray)
    height, width = ops.shape(g)[2], ops.shape(g)[3]
    rough, fine, laplacian = g[:, :4], g[:, 4:6], g[:, 6:]
    functions = ops.concatenate(
        [
            g,
            rough * ops.abs(rough),
            ops.clip(rough, -5.0, 5.0) ** 3,
            fine * ops.abs(fine),
            laplacian * ops.abs(laplacian),
            ops.square(laplacian),
            ops.zeros_like(laplacian),
        ],
        axis=1,
    )
    padded = _zero_padded(
        functions,
        image_ops.rounded_up(height + MAX_LAG + 1, FFT_MULTIPLE),
        image_ops.rounded_up(width + MAX_LAG + 1, FFT_MULTIPLE),
    )
    real, imaginary = _fft_real(padded)
    first = [0, 1, 2, 3, *range(7, 15), 4, 5, 15, 16, 17, 18]
    second = [*range(4)] * 3 + [4, 5] * 2 + [6, 6]
    a, b = ops.take(real, first, axis=1), ops.take(imaginary, first, axis=1)
    c, d = ops.take(real, second, axis=1), ops.take(imaginary, second, axis=1)
    result = _around_zero(_inverse_real(a * c + b * d, a * d - b * c))
    return result / ops.cast(height * width, "float32")


def cepstra(gray: Tensor) -> Tensor:
    """Two cepstra of an image: inverse Fourier transforms of the logarithm of power spectra.

    In the logarithm, the kernel's spectrum is added to the image's, not multiplied (Cannon,
    1976). The power spectra are those of Hann windows of 128x128 pixels, 64 apart; the first
    cepstrum uses the log of their mean, the second the mean of their log.

    Args:
      gray: float32 [B, H, W], about [0, 1], sides of at least `WINDOW`.

    Returns:
      float32 [B, 2, 63, 63], quefrency zero in the centre.
    """
    half = WINDOW // 2
    rows, columns = ops.shape(gray)[1] // half, ops.shape(gray)[2] // half
    squares = ops.reshape(gray[:, : rows * half, : columns * half], (-1, rows, half, columns, half))
    tall = ops.concatenate([squares[:, :-1], squares[:, 1:]], axis=2)
    patches = ops.concatenate([tall[:, :, :, :-1], tall[:, :, :, 1:]], axis=4)
    patches = ops.reshape(
        ops.transpose(patches, (0, 1, 3, 2, 4)),
        (-1, (rows - 1) * (columns - 1), WINDOW, WINDOW),
    )
    patches = patches - ops.mean(patches, axis=(2, 3), keepdims=True)
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(WINDOW) / WINDOW)
    window = np.outer(hann, hann)
    window = (window / np.sqrt(np.sum(window**2))).astype("float32")
    windowed = patches * window
    real, imaginary = fourier.fft2((windowed, ops.zeros_like(windowed)))
    power = ops.square(real) + ops.square(imaginary)
    logs = ops.stack(
        [
            ops.log(ops.mean(power, axis=1) + 1e-6),
            ops.mean(ops.log(power + 1e-6), axis=1),
        ],
        axis=1,
    )
    return _around_zero(_inverse_real(logs, ops.zeros_like(logs)))


def statistics(image: Tensor) -> Tensor:
    """The statistics of an image from which its blur and noise are estimated.

    Args:
      image: float32 [B, H, W, C] in [-1, 1], any size; if smaller than 128 pixels,
        it is padded by reflection.

    Returns:
      float32 [B, 64, 64, 20]: `correlations` and `cepstra` of the mean of the channels; zero
      in the last row and column. No gradients flow through them.
    """
    image = ops.stop_gradient(image)
    # Static sizes stay Python numbers: JAX has no dynamic ones.
    size = [
        max(n, WINDOW) if isinstance(n, int) else ops.maximum(n, WINDOW)
        for n in ops.shape(image)[1:3]
    ]
    gray = (ops.mean(image_ops.pad_to_size(image, *size), axis=-1) + 1.0) / 2.0
    maps = ops.concatenate([correlations(gray), cepstra(gray)], axis=1)
    maps = ops.pad(maps, [(0, 0), (0, 0), (0, SIDE - 2 * MAX_LAG - 1), (0, SIDE - 2 * MAX_LAG - 1)])
    return ops.transpose(maps, (0, 2, 3, 1))


def gradient_energy(image: Tensor) -> Tensor:
    """Sum of the squared differences of neighbours: how much an image reveals about its blur.

    float32 [B, H, W, C] -> [B], computed from the mean of the channels.
    """
    gray = ops.mean(image, axis=-1)
    across, down = gray[:, :, 1:] - gray[:, :, :-1], gray[:, 1:] - gray[:, :-1]
    return sum(ops.sum(ops.square(x), axis=(1, 2)) for x in (across, down))


def evidence(windows: Tensor) -> Tensor:
    """What the blur of each window of an image is estimated from.

    Args:
      windows: float32 [B, rows, columns, side, side, C] in [-1, 1].

    Returns:
      See `combined`.
    """
    grid = ops.shape(windows)[:3]
    flat = ops.reshape(windows, (-1, *windows.shape[3:]))
    maps = ops.reshape(statistics(flat), (*grid, SIDE, SIDE, CHANNELS))
    return combined(maps, ops.reshape(gradient_energy(flat), grid))


def combined(maps: Tensor, energy: Tensor) -> Tensor:
    """Statistics of each window beside those of the whole image.

    A window without structure reveals nothing about its blur, so its statistics are averaged with
    those of the whole image, which have `GLOBAL_WEIGHT` times the weight of a window of mean
    energy. Where the whole image is blurred alike, its statistics tell more than any window's, and
    the more, the more windows there are.

    Args:
      maps: statistics of each window, [B, rows, columns, SIDE, SIDE, CHANNELS].
      energy: gradient energy of each window, [B, rows, columns].

    Returns:
      [B, rows, columns, SIDE, SIDE, EVIDENCE]: the average, the whole image's statistics, and
      log2(rows * columns) / 3 everywhere.
    """
    energy = energy[..., None, None, None] + 1e-12
    mean = ops.mean(energy, axis=(1, 2), keepdims=True)
    whole = ops.mean(energy * maps, axis=(1, 2), keepdims=True) / mean
    own = (energy * maps + GLOBAL_WEIGHT * mean * whole) / (energy + GLOBAL_WEIGHT * mean)
    shape = ops.shape(maps)
    count = ops.log2(ops.cast(shape[1] * shape[2], maps.dtype)) / 3.0
    return ops.concatenate(
        [
            own,
            ops.broadcast_to(whole, shape),
            ops.broadcast_to(count, (*shape[:-1], 1)),
        ],
        axis=-1,
    )


def turned(maps: Tensor, orientation: int) -> Tensor:
    """Turns maps as if computed from an image in another orientation.

    Args:
      maps: `statistics` or `evidence`, [B, SIDE, SIDE, C]; some statistics exchange channels.
      orientation: 0 to 7; bit 0 mirrors rows, bit 1 columns, and then bit 2 swaps both.
    """
    for bit, axis in ((1, 1), (2, 2)):
        if orientation & bit:
            maps = ops.roll(ops.flip(maps, axis), -1, axis)
            maps = ops.take(maps, _order(FLIPPED, maps.shape[-1]), axis=-1)
    if orientation & 4:
        maps = ops.transpose(maps, (0, 2, 1, 3))
        maps = ops.take(maps, _order(SWAPPED, maps.shape[-1]), axis=-1)
    return maps


def _order(changed: list[int], channels: int) -> list[int]:
    """The order of channels that hold statistics once or several times, and others after them."""
    sets = channels // CHANNELS
    return [
        *(CHANNELS * k + i for k in range(sets) for i in changed),
        *range(sets * CHANNELS, channels),
    ]


def turned_back(kernel: Tensor, orientation: int) -> Tensor:
    """Undoes `turned` for a kernel [B, s, s], s odd, found in the given orientation."""
    if orientation & 4:
        kernel = ops.transpose(kernel, (0, 2, 1))
    axes = [axis for bit, axis in ((1, 1), (2, 2)) if orientation & bit]
    return ops.flip(kernel, axes) if axes else kernel
