"""Blind deconvolution: the blur is estimated from an image's statistics and undone by a filter.

Not from the papers. A network that works at the size of the kernel, not of the image, estimates
kernel and noise from `deblur_tf.networks.statistics`; a Wiener filter then restores the image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from deblur_tf.base.registry import configurable
from deblur_tf.base.types import ComplexParts, Shape, Tensor
from deblur_tf.networks import windows
from deblur_tf.networks.network import Network
from deblur_tf.networks.statistics import (
    CHANNELS,
    EVIDENCE,
    FFT_MULTIPLE,
    MAX_LAG,
    ORIENTATIONS,
    SIDE,
    WINDOW,
    evidence,
    turned,
    turned_back,
)
from deblur_tf.networks.unet import UNet
from deblur_tf.numerics import fourier, image_ops

# Pixels by which an image is padded beyond its edges before it is filtered.
MARGIN = 48


def _waves(count: Tensor, side: int) -> ComplexParts:
    """Cosines and sines of 2 pi f (n - centre): [count, side] each, f = 0, 1 / count, ..."""
    position = ops.cast(ops.arange(side), "float32") - side // 2
    frequency = ops.cast(ops.arange(count), "float32") / ops.cast(count, "float32")
    angle = 2.0 * np.pi * frequency[:, None] * position[None]
    return ops.cos(angle), ops.sin(angle)


def transfer(kernel: Tensor, height: Tensor, width: Tensor) -> ComplexParts:
    """The Fourier transform of a small centred kernel, at an image's frequencies.

    Args:
      kernel: float32 [B, s, s], s odd.
      height, width: size of the image in pixels.

    Returns:
      Real and imaginary parts, float32 [B, height, width].
    """
    cos_rows, sin_rows = _waves(height, kernel.shape[1])
    cos_columns, sin_columns = (ops.transpose(x) for x in _waves(width, kernel.shape[2]))
    by_cos, by_sin = ops.matmul(kernel, cos_columns), ops.matmul(kernel, sin_columns)
    return (
        ops.matmul(cos_rows, by_cos) - ops.matmul(sin_rows, by_sin),
        -ops.matmul(sin_rows, by_cos) - ops.matmul(cos_rows, by_sin),
    )


def response(kernel: Tensor, log_ratio: Tensor, height: Tensor, width: Tensor) -> ComplexParts:
    """The Wiener filter conj(K) / (|K|^2 + R) at an image's frequencies.

    Arguments: see `wiener` and `transfer`.
    """
    real, imaginary = transfer(kernel, height, width)
    power, _ = transfer(log_ratio, height, width)
    ratio = ops.exp(ops.clip(power, -6.0, 4.0))
    scale = 1.0 / (ops.square(real) + ops.square(imaginary) + ratio)
    return real * scale, -imaginary * scale


def wiener(image: Tensor, kernel: Tensor, log_ratio: Tensor) -> Tensor:
    """Applies the Wiener filter, see `response`, to an image without its mean.

    Args:
      image: float32 [B, H, W, 3], any range.
      kernel: k, float32 [B, s, s], sum 1.
      log_ratio: log R, where R is the power of the noise over the power of the sharp image,
        as Fourier coefficients: float32 [B, t, t], even.

    Returns:
      float32 [B, H, W, 3]; the mean of the image is added again.
    """
    height, width = ops.shape(image)[1], ops.shape(image)[2]
    size = [image_ops.rounded_up(n + 2 * MARGIN, FFT_MULTIPLE) for n in (height, width)]
    mean = ops.mean(image, axis=(1, 2), keepdims=True)
    padded = image_ops.pad_to_size(image - mean, *size, margin=MARGIN)

    real, imaginary = (x[:, None] for x in response(kernel, log_ratio, *size))

    # Filters are real: red and green are filtered as one complex image, blue alone.
    channels = ops.transpose(padded, (0, 3, 1, 2))
    blue = channels[:, 2:]
    x, y = fourier.fft2(
        (
            ops.concatenate([channels[:, :1], blue], axis=1),
            ops.concatenate([channels[:, 1:2], ops.zeros_like(blue)], axis=1),
        )
    )
    x, y = fourier.ifft2((x * real - y * imaginary, x * imaginary + y * real))
    channels = ops.concatenate([x[:, :1], y[:, :1], x[:, 1:]], axis=1)
    result = ops.transpose(channels, (0, 2, 3, 1))
    return mean + result[:, MARGIN : MARGIN + height, MARGIN : MARGIN + width]


@configurable
class BlindWiener(Network):
    """A small network estimates kernel and noise from `evidence`; Wiener's filter does the rest.

    Untrained, it assumes a kernel that falls with the radius r as exp(-r / 2).

    Args:
      unet: reads the statistics, maps of SIDE x SIDE: a UNet without noise level and guidance,
        with two output channels.
      kernel_size: side of the largest kernel in pixels, odd, up to 61.
      ratio_size: side of the map of the noise ratio's Fourier coefficients, odd, up to 31; it
        determines how finely the ratio can vary with frequency.
      window: side in pixels of the windows, which overlap by half and have one blur each; a
        multiple of 16, at least 128. Smaller images are padded by reflection.
    """

    # Any height and width is accepted.
    size_multiple = 1
    has_fourier_transforms = True

    def __init__(
        self,
        unet: UNet,
        kernel_size: int = 31,
        ratio_size: int = 19,
        window: int = 256,
        name: str = "blind_wiener",
        **kwargs: Any,
    ):
        if unet.use_noise_level or unet.guided_depths or unet.out_channels != 2:
            raise ValueError(
                "BlindWiener needs UNet(out_channels=2, use_noise_level=False, guided_depths=())"
            )
        if SIDE % unet.size_multiple:
            raise ValueError(f"BlindWiener: {SIDE} is not a multiple of {unet.size_multiple}")
        for side, most in ((kernel_size, 2 * MAX_LAG - 1), (ratio_size, MAX_LAG)):
            if side % 2 == 0 or not 1 <= side <= most:
                raise ValueError(f"BlindWiener: sides must be odd, up to {most}, got {side}")
        if window % 16 or window < WINDOW:
            raise ValueError(
                f"BlindWiener: window must be a multiple of 16 from {WINDOW} on, got {window}"
            )
        kwargs["dtype"] = "float32"
        super().__init__(name=name, **kwargs)
        self.unet = unet
        self.kernel_size = kernel_size
        self.ratio_size = ratio_size
        self.window = window
        offset = np.arange(SIDE) - MAX_LAG
        radius = np.hypot(*np.meshgrid(offset, offset)).astype("float32")
        self._radius = radius
        self._place = np.stack([np.exp(-radius / 2), radius / MAX_LAG, radius < 1], -1)[None]

    @property
    def floats_per_pixel(self) -> float:
        """See `Network`. Four windows contain each pixel, each with statistics and Fourier
        transforms; 3.0 kB per pixel were measured at 1280x720 (benchmarks/large.py)."""
        return 400.0

    def build(self, input_shape: Shape) -> None:
        """Creates the variables; the shape does not matter."""
        del input_shape
        self.unet.build((None, SIDE, SIDE, 2 * EVIDENCE - 1 + self._place.shape[-1]))

    def blur(self, maps: Tensor) -> ComplexParts:
        """`read`, averaged over all eight orientations: a rotated image has a rotated kernel.

        Arguments and result: see `read`.
        """
        found = self.read(
            ops.concatenate([turned(maps, code) for code in range(ORIENTATIONS)], axis=0)
        )

        def mean(values: Tensor) -> Tensor:
            parts = ops.split(values, ORIENTATIONS)
            return sum(turned_back(x, i) for i, x in enumerate(parts)) / ORIENTATIONS

        return mean(found[0]), mean(found[1])

    def read(self, maps: Tensor) -> ComplexParts:
        """Estimates the kernel and the noise of windows of images.

        Args:
          maps: result of `statistics.evidence`, float32 [B, 64, 64, 41].

        Returns:
          The kernel, float32 [B, kernel_size, kernel_size], non-negative, sum 1, and
          log R, see `wiener`: [B, ratio_size, ratio_size].
        """
        place = ops.convert_to_tensor(self._place.astype("float32"))
        place = ops.broadcast_to(place, (ops.shape(maps)[0], *self._place.shape[1:]))
        maps, count = maps[..., : 2 * CHANNELS], maps[..., 2 * CHANNELS :]
        # Large and small values both matter.
        small = ops.sign(maps) * ops.log(1.0 + 50.0 * ops.abs(maps)) / 2.0
        result = self.unet(ops.concatenate([2.0 * maps, small, count, place], axis=-1))

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
        """The deconvolved image: each window is filtered separately, and the results are blended.

        All windows are computed at once, which takes about 3 kB per pixel. TensorFlow's `map_fn`
        takes less, but runs their Fourier transforms in parallel, and crashed in half of the
        programs that restored twenty photographs.

        Args:
          image: float32 [B, H, W, 3] in [-1, 1].

        Returns:
          float32 [B, H, W, 3].
        """
        height, width = ops.shape(image)[1], ops.shape(image)[2]
        sizes = [
            _at_least(image_ops.rounded_up(n, self.window // 2), self.window)
            for n in (height, width)
        ]
        cut = windows.split(image_ops.pad_to_size(image, *sizes), self.window)
        grid = ops.shape(cut)[:3]  # images, rows and columns of windows
        maps = ops.reshape(evidence(cut), (-1, SIDE, SIDE, EVIDENCE))
        parts = wiener(ops.reshape(cut, (-1, self.window, self.window, 3)), *self.blur(maps))
        result = windows.blend(ops.reshape(parts, (*grid, self.window, self.window, 3)))
        return image_ops.crop(result, height, width)


def _at_least(size: Tensor | int, least: int) -> Tensor | int:
    return max(size, least) if isinstance(size, int) else ops.maximum(size, least)


def _centre(maps: Tensor, side: int) -> Tensor:
    """The part of [B, SIDE, SIDE] around zero: [B, side, side]."""
    first = MAX_LAG - side // 2
    return maps[:, first : first + side, first : first + side]
