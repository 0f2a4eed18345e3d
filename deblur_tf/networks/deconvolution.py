"""Blind deconvolution of a whole image: its statistics tell the blur, a filter undoes it. Ours.

A shake blurs a picture everywhere alike, so what tells of it is spread over all of the
picture and has no place in it: correlations of the gradient with itself hold the size of
the kernel's spectrum, those with a power of itself also the phase, since sharp gradients
are sparse and blur and noise make them Gaussian. A network of the size of the kernel, not of
the picture, reads kernel and noise from them.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from deblur_tf import image_ops
from deblur_tf.networks.unet import UNet
from deblur_tf.registry import configurable
from deblur_tf.types import Shape, Tensor

# Correlations are taken at distances up to this in rows and columns: kernels of up to
# 31x31 pixels correlate with themselves that far.
REACH = 31
# Side of the maps of statistics: 2 * REACH + 1 and a row and a column of zeros.
SIDE = 64
# Of statistics: 18 correlations and two cepstra; and where each of them is when the image is
# mirrored, or rows and columns are swapped.
CHANNELS = 20
FLIPPED = [0, 1, 3, 2, 4, 5, 7, 6, 8, 9, 11, 10, *range(12, 20)]
SWAPPED = [1, 0, 2, 3, 5, 4, 6, 7, 9, 8, 10, 11, 13, 12, 15, 14, *range(16, 20)]
# Side of the windows whose power spectra are averaged.
WINDOW = 128
# Pixels by which an image is continued beyond its edges before it is filtered.
MARGIN = 48
# Sizes of Fourier transforms are multiples of this.
GRAIN = 32

Pair = tuple[Tensor, Tensor]  # real and imaginary part


def _fft_real(images: Tensor) -> Pair:
    """Fourier transforms of real [B, C, H, W], C even: two real ones by each complex one."""
    first, second = images[:, 0::2], images[:, 1::2]
    real, imaginary = ops.fft2((first, second))
    # Of a + ib: the even part of its spectrum in the sense of Hermite is a's.
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
    """The real [B, C, H, W], C even, whose Fourier transforms these are."""
    a = (real[:, 0::2], imaginary[:, 0::2])
    b = (real[:, 1::2], imaginary[:, 1::2])
    result = ops.ifft2((a[0] - b[1], a[1] + b[0]))
    return ops.reshape(ops.stack(result, axis=2), (-1, real.shape[1], *ops.shape(real)[2:]))


def _zero_padded(images: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """[B, C, h, w] with zeros at the bottom and right up to [B, C, height, width]."""
    shape = ops.shape(images)
    rows = ops.zeros((shape[0], images.shape[1], height - shape[2], shape[3]))
    images = ops.concatenate([images, rows], axis=2)
    columns = ops.zeros((shape[0], images.shape[1], height, width - shape[3]))
    return ops.concatenate([images, columns], axis=3)


def _around_zero(images: Tensor) -> Tensor:
    """Distances -REACH to REACH of periodic [B, C, H, W]: [B, C, 2 REACH + 1, 2 REACH + 1]."""
    images = ops.concatenate([images[:, :, -REACH:], images[:, :, : REACH + 1]], axis=2)
    return ops.concatenate([images[:, :, :, -REACH:], images[:, :, :, : REACH + 1]], axis=3)


def _rounded_up(size: Tensor, multiple: int) -> Tensor:
    return size + (-size) % multiple


def gradients(gray: Tensor) -> Tensor:
    """Seven derivatives of a gray image at unit RMS: what the correlations are of.

    Args:
      gray: float32 [B, H, W], sides 8 or more.

    Returns:
      float32 [B, 7, H - 4, W - 4]. First, after a binomial 3x3 smoothing: along x, y and
      the two diagonals; then differences of pixels two apart along x and y, without; last the
      Laplacian, with.
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

    For g of `gradients`, the mean over x of f(g(x)) g(x + d) for distances d of up to
    `REACH`: f(g) = g, |g| g and g^3 (of g within [-5, 5]) of the first four, g and |g| g of
    the next two, |g| g and g^2 of the Laplacian.

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
        _rounded_up(height + REACH + 1, GRAIN),
        _rounded_up(width + REACH + 1, GRAIN),
    )
    real, imaginary = _fft_real(padded)
    first = [0, 1, 2, 3, *range(7, 15), 4, 5, 15, 16, 17, 18]
    second = [*range(4)] * 3 + [4, 5] * 2 + [6, 6]
    a, b = ops.take(real, first, axis=1), ops.take(imaginary, first, axis=1)
    c, d = ops.take(real, second, axis=1), ops.take(imaginary, second, axis=1)
    result = _around_zero(_inverse_real(a * c + b * d, a * d - b * c))
    return result / ops.cast(height * width, "float32")


def cepstra(gray: Tensor) -> Tensor:
    """Cepstra of the blur and of the picture: Fourier transforms of the log of power spectra.

    There the kernel's spectrum is added to the picture's, not multiplied (Cannon, 1976). Spectra
    of Hann windows of 128x128 pixels, 64 apart; the log of their mean, and the mean of their
    log.

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
    real, imaginary = ops.fft2((windowed, ops.zeros_like(windowed)))
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
    """What a whole image says of its blur and noise.

    Args:
      image: float32 [B, H, W, C] in [-1, 1], any size; smaller than 128 pixels it is
        continued by reflection.

    Returns:
      float32 [B, 64, 64, 20]: `correlations` and `cepstra` of the mean of the channels; zero
      in the last row and column. No gradients flow through them.
    """
    image = ops.stop_gradient(image)
    size = [ops.maximum(n, WINDOW) for n in ops.shape(image)[1:3]]
    gray = (ops.mean(image_ops.pad_to_size(image, *size), axis=-1) + 1.0) / 2.0
    maps = ops.concatenate([correlations(gray), cepstra(gray)], axis=1)
    maps = ops.pad(maps, [(0, 0), (0, 0), (0, SIDE - 2 * REACH - 1), (0, SIDE - 2 * REACH - 1)])
    return ops.transpose(maps, (0, 2, 3, 1))


def _waves(count: Tensor, side: int) -> Pair:
    """Cosines and sines of 2 pi f (n - centre): [count, side] each, f = 0, 1 / count, ..."""
    position = ops.cast(ops.arange(side), "float32") - side // 2
    frequency = ops.cast(ops.arange(count), "float32") / ops.cast(count, "float32")
    angle = 2.0 * np.pi * frequency[:, None] * position[None]
    return ops.cos(angle), ops.sin(angle)


def transfer(kernel: Tensor, height: Tensor, width: Tensor) -> Pair:
    """The Fourier transform of a small centred kernel, at an image's frequencies.

    Args:
      kernel: float32 [B, s, s], s odd.
      height, width: of the image.

    Returns:
      Real and imaginary part, float32 [B, height, width].
    """
    cos_rows, sin_rows = _waves(height, kernel.shape[1])
    cos_columns, sin_columns = (ops.transpose(x) for x in _waves(width, kernel.shape[2]))
    by_cos, by_sin = ops.matmul(kernel, cos_columns), ops.matmul(kernel, sin_columns)
    return (
        ops.matmul(cos_rows, by_cos) - ops.matmul(sin_rows, by_sin),
        -ops.matmul(sin_rows, by_cos) - ops.matmul(cos_rows, by_sin),
    )


def flipped(maps: np.ndarray, axis: int) -> np.ndarray:
    """Maps [SIDE, SIDE, ...] whose distances along an axis have the other sign."""
    return np.roll(np.flip(maps, axis), -1, axis)


def response(kernel: Tensor, log_ratio: Tensor, height: Tensor, width: Tensor) -> Pair:
    """Wiener's filter conj(K) / (|K|^2 + R) at an image's frequencies.

    Arguments: see `wiener` and `transfer`.
    """
    real, imaginary = transfer(kernel, height, width)
    power, _ = transfer(log_ratio, height, width)
    ratio = ops.exp(ops.clip(power, -6.0, 4.0))
    scale = 1.0 / (ops.square(real) + ops.square(imaginary) + ratio)
    return real * scale, -imaginary * scale


def wiener(image: Tensor, kernel: Tensor, log_ratio: Tensor) -> Tensor:
    """Wiener's filter, see `response`, on all frequencies but zero.

    Args:
      image: float32 [B, H, W, 3], any range.
      kernel: k, float32 [B, s, s], sum 1.
      log_ratio: log R, the power of noise over that of the sharp image, by its Fourier
        coefficients: float32 [B, t, t], even.

    Returns:
      float32 [B, H, W, 3]; its mean is the image's.
    """
    height, width = ops.shape(image)[1], ops.shape(image)[2]
    size = [_rounded_up(n + 2 * MARGIN, GRAIN) for n in (height, width)]
    mean = ops.mean(image, axis=(1, 2), keepdims=True)
    padded = image_ops.pad_to_size(image - mean, *size, margin=MARGIN)

    real, imaginary = (x[:, None] for x in response(kernel, log_ratio, *size))

    # Filters are real: red and green are filtered as one complex image, blue alone.
    channels = ops.transpose(padded, (0, 3, 1, 2))
    blue = channels[:, 2:]
    x, y = ops.fft2(
        (
            ops.concatenate([channels[:, :1], blue], axis=1),
            ops.concatenate([channels[:, 1:2], ops.zeros_like(blue)], axis=1),
        )
    )
    x, y = ops.ifft2((x * real - y * imaginary, x * imaginary + y * real))
    channels = ops.concatenate([x[:, :1], y[:, :1], x[:, 1:]], axis=1)
    result = ops.transpose(channels, (0, 2, 3, 1))
    return mean + result[:, MARGIN : MARGIN + height, MARGIN : MARGIN + width]


@configurable
class BlindWiener(keras.layers.Layer):
    """Kernel and noise from `statistics` by a small network, then Wiener's filter.

    Untrained it takes a Gaussian blur of about a pixel for the kernel.

    Args:
      unet: reads the statistics: a UNet without noise level and guidance, with two channels
        out, for SIDE x SIDE maps.
      kernel_size: side of the largest kernel in pixels, odd, up to 31.
      ratio_size: side of the noise ratio's Fourier coefficients, odd: how finely it may
        depend on the frequency.
    """

    # Of heights and widths: any will do.
    size_multiple = 1

    def __init__(
        self,
        unet: UNet,
        kernel_size: int = 31,
        ratio_size: int = 19,
        name: str = "blind_wiener",
        **kwargs: Any,
    ):
        if unet.use_noise_level or unet.guided_depths or unet.out_channels != 2:
            raise ValueError(
                "BlindWiener needs UNet(out_channels=2, use_noise_level=False, guided_depths=())"
            )
        if SIDE % unet.size_multiple:
            raise ValueError(f"BlindWiener: {SIDE} is no multiple of {unet.size_multiple}")
        for side in (kernel_size, ratio_size):
            if side % 2 == 0 or not 1 <= side <= REACH:
                raise ValueError(f"BlindWiener: sides must be odd, up to {REACH}, got {side}")
        kwargs["dtype"] = "float32"
        super().__init__(name=name, **kwargs)
        self.unet = unet
        self.kernel_size = kernel_size
        self.ratio_size = ratio_size
        offset = np.arange(SIDE) - REACH
        radius = np.hypot(*np.meshgrid(offset, offset)).astype("float32")
        self._radius = radius
        self._place = np.stack([np.exp(-radius / 2), radius / REACH, radius < 1], -1)[None]

    def build(self, input_shape: Shape) -> None:
        """Creates the variables; the shape does not matter."""
        del input_shape
        self.unet.build((None, SIDE, SIDE, 2 * CHANNELS + self._place.shape[-1]))

    def blur(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Kernel and noise that an image seems to have.

        Args:
          image: float32 [B, H, W, 3] in [-1, 1].

        Returns:
          The kernel, float32 [B, kernel_size, kernel_size], non-negative, sum 1, and
          log R, see `wiener`: [B, ratio_size, ratio_size].
        """
        return self.read(statistics(image))

    def read(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """`blur` of an image with these statistics, float32 [B, 64, 64, 20]."""
        place = ops.convert_to_tensor(self._place.astype("float32"))
        place = ops.broadcast_to(place, (ops.shape(maps)[0], *self._place.shape[1:]))
        # Large and small values both matter.
        small = ops.sign(maps) * ops.log1p(50.0 * ops.abs(maps)) / 2.0
        result = self.unet(ops.concatenate([2.0 * maps, small, place], axis=-1))

        logits = _centre(result[..., 0], self.kernel_size)
        prior = _centre(self._radius[None], self.kernel_size)
        shape = (-1, self.kernel_size, self.kernel_size)
        logits = ops.reshape(4.0 * logits - 0.5 * prior, (-1, self.kernel_size**2))
        kernel = ops.reshape(ops.softmax(logits), shape)

        ratio = 0.3 * _centre(result[..., 1], self.ratio_size)
        ratio = (ratio + ops.flip(ratio, (1, 2))) / 2.0
        middle = np.zeros((self.ratio_size, self.ratio_size), "float32")
        middle[self.ratio_size // 2, self.ratio_size // 2] = -3.0
        return kernel, ratio + middle

    def call(self, image: Tensor) -> Tensor:
        """The deconvolved image: float32 [B, H, W, 3] in [-1, 1] -> [B, H, W, 3]."""
        return wiener(image, *self.blur(image))


def _centre(maps: Tensor, side: int) -> Tensor:
    """The part of [B, SIDE, SIDE] around zero: [B, side, side]."""
    first = REACH - side // 2
    return maps[:, first : first + side, first : first + side]
