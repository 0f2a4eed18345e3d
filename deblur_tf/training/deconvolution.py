"""Learning blind deconvolution from statistics, with the error of a filter in closed form.

A filter W on blurry = B sharp + noise leaves, at each frequency, the expected square error

  |W B - 1|^2 S + |W|^2 sigma^2,

with B the kernel's Fourier transform, S the sharp image's power and sigma the noise's standard
deviation. So neither filter nor loss needs a picture: an example is a few maps of 64x64.

That holds for one kernel over a whole picture in stored values. Of a window of any blurry picture
the error is known too, without a model of its blur: W Y - X at each frequency, with Y and X the
Fourier transforms of the blurry and the sharp window.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops
from scipy import fft

from deblur_tf.data import blur
from deblur_tf.data.augment import random_crop
from deblur_tf.data.blur import MARGIN
from deblur_tf.data.cache import ImageCache
from deblur_tf.data.pairs import PairSource, SyntheticPairs
from deblur_tf.data.parts import word
from deblur_tf.networks import deconvolution, statistics
from deblur_tf.networks.statistics import CHANNELS, REACH, SIDE
from deblur_tf.registry import configurable
from deblur_tf.types import Tensor

# Side of the windows of `WindowSpectra` in pixels.
WINDOW = 256

# Added to errors before their logarithm: an image that is sharp already counts little.
FLOOR = 1e-5


@configurable
class BlurStatistics(SyntheticPairs):
    """Statistics of blurred photographs, and what an expected error needs to be known.

    Examples are made once and kept in memory, 0.2 MB each, and returned in one of
    eight orientations: that of the photograph would make no difference.

    Args:
      sizes: sides of the crops in pixels, of which each example takes one.
      examples: how many different ones there are.
      kwargs: see `SyntheticPairs`.
    """

    spec = (((SIDE, SIDE, CHANNELS), "float16"), ((SIDE, SIDE, 3), "float32"))

    def __init__(
        self,
        *args: Any,
        sizes: Sequence[int] = (224, 320, 416, 480),
        examples: int = 16000,
        **kwargs: Any,
    ):
        super().__init__(*args, crop_size=SIDE, **kwargs)
        self.sizes = tuple(sizes)
        self.examples = examples
        self._made = ImageCache(self._example, max_bytes=examples << 18)

    def describe(self) -> str:
        """One phrase for the first line of a run."""
        return (
            f"statistics of {self.examples} blurred crops of {len(self.photos.paths)} "
            f"photos{word(self.part)}"
        )

    def __call__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Example number `index`.

        Returns:
          `statistics.statistics`, float16 [64, 64, 20], and float32 [64, 64, 3]: the
          kernel, and S with images in [0, 1], both with zero at row and column 31, and sigma.
        """
        rng = np.random.default_rng((self.seed, int(index)))
        maps, truth = self._made[int(rng.integers(self.examples))]
        orientation = int(rng.integers(statistics.ORIENTATIONS))
        return tuple(
            ops.convert_to_numpy(statistics.turned(x[None], orientation, x is maps)[0])
            for x in (maps, truth)
        )

    def _example(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng((self.seed, 1, number))
        photo = self.photos[int(rng.integers(len(self.photos)))]
        window = random_crop(photo, int(rng.choice(self.sizes)), MARGIN, rng)
        kernel = blur.random_kernel(rng, self.max_extent, mildness=self.mildness)
        stddev = self.max_stddev * rng.uniform() ** self.mildness
        blurry = blur.convolve(window, kernel)
        blurry = blurry + stddev * rng.standard_normal(blurry.shape, dtype=np.float32)
        blurry = np.round(np.clip(blurry, 0.0, 255.0)) / 127.5 - 1.0
        maps = statistics.statistics(ops.convert_to_tensor(blurry[None], dtype="float32"))
        truth = np.zeros((SIDE, SIDE, 3), np.float32)
        first = REACH - MARGIN
        truth[first : REACH + MARGIN + 1, first : REACH + MARGIN + 1, 0] = kernel
        truth[..., 1] = np.roll(power(window[MARGIN:-MARGIN, MARGIN:-MARGIN]), REACH, (0, 1))
        truth[..., 2] = stddev / 255.0
        return ops.convert_to_numpy(maps)[0].astype(np.float16), truth


def power(image: np.ndarray) -> np.ndarray:
    """Power spectrum of an image in [0, 255]: mean over Hann windows of 64x64, 32 apart.

    [H, W, C] -> float64 [64, 64] of the mean channel in [0, 1]; white noise has its variance.
    """
    gray = image.mean(axis=-1) / 255.0
    windows = np.lib.stride_tricks.sliding_window_view(gray, (SIDE, SIDE))[::32, ::32]
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(SIDE) / SIDE)
    taper = np.outer(hann, hann)
    windows = (windows - windows.mean(axis=(2, 3), keepdims=True)) * taper
    return np.mean(np.abs(fft.fft2(windows)) ** 2, axis=(0, 1)) / np.sum(taper**2)


def expected_error(kernel: Tensor, log_ratio: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Expected square error of `deconvolution.wiener`, and of the blurry image itself.

    Args:
      kernel, log_ratio: see `deconvolution.wiener`.
      truth: see `BlurStatistics`.

    Returns:
      Mean over frequencies, for images in [0, 1]: float32 [B] each.
    """
    first, last = REACH - MARGIN, REACH + MARGIN + 1
    blur_real, blur_imaginary = deconvolution.transfer(
        truth[:, first:last, first:last, 0], SIDE, SIDE
    )
    sharp = ops.roll(truth[..., 1], (-REACH, -REACH), (1, 2))
    noise = ops.square(truth[..., 2])
    real, imaginary = deconvolution.response(kernel, log_ratio, SIDE, SIDE)
    rest_real = real * blur_real - imaginary * blur_imaginary - 1.0
    rest_imaginary = real * blur_imaginary + imaginary * blur_real
    error = (ops.square(rest_real) + ops.square(rest_imaginary)) * sharp
    error = error + (ops.square(real) + ops.square(imaginary)) * noise
    before = (ops.square(blur_real - 1.0) + ops.square(blur_imaginary)) * sharp + noise
    return ops.mean(error, axis=(1, 2)), ops.mean(before, axis=(1, 2))


@configurable
@dataclasses.dataclass(frozen=True)
class FilterObjective:
    """The logarithm of what a filter leaves of the error, for a `Regression` of a `BlindWiener`.

    Images count alike whatever their error, see `losses.log_mse`.
    """

    def errors(self, kernel: Tensor, log_ratio: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        """See `expected_error`."""
        return expected_error(kernel, log_ratio, truth)

    def terms(self, model: Any) -> tuple[str, ...]:
        """Names of what `__call__` returns for a model."""
        del model
        return ("loss", "gain")

    def __call__(
        self, model: Any, blurry: Tensor, sharp: Tensor, step: Tensor, items: Tensor
    ) -> dict[str, Tensor]:
        """Of examples of `BlurStatistics`: "loss" and "gain", the expected one in dB: [B] each."""
        del step, items  # nothing is drawn
        found = model.predictor.read(ops.cast(blurry, "float32"))
        error, before = self.errors(*found, sharp)
        loss = ops.log(error + FLOOR) - ops.log(before + FLOOR)
        return {"loss": loss, "gain": -10.0 / np.log(10.0) * loss}


@configurable
class WindowSpectra:
    """Statistics of the blurry pictures of pairs, and the Fourier transforms of both.

    Examples are made once and kept in memory, 0.4 MB each, and returned in one of four
    orientations.

    Args:
      source: builds the source of pairs of 256x256 pixels.
      examples: how many different ones there are.
      seed: of their order.
    """

    crop_size = SIDE
    spec = (((SIDE, SIDE, CHANNELS), "float16"), ((WINDOW, WINDOW // 2 + 1, 4), "float16"))

    def __init__(self, source: Callable[[], PairSource], examples: int = 8000, seed: int = 0):
        self.source = source()
        if self.source.crop_size != WINDOW:
            raise ValueError(
                f"WindowSpectra needs pairs of {WINDOW} pixels, got {self.source.crop_size}"
            )
        self.examples = examples
        self.seed = seed
        self._made = ImageCache(self._example, max_bytes=examples << 19)
        hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * (np.arange(WINDOW) + 0.5) / WINDOW)
        taper = np.outer(hann, hann)
        self._taper = (taper / np.sqrt(np.sum(taper**2))).astype(np.float32)

    def describe(self) -> str:
        """One phrase for the first line of a run."""
        return f"statistics of {self.examples} windows of {self.source.describe()}"

    def __call__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Example number `index`.

        Returns:
          `statistics.statistics`, float16 [64, 64, 20], and float16 [256, 129, 4]: real and
          imaginary part of Y, then of X, of half of the frequencies, since pictures are real.
        """
        rng = np.random.default_rng((self.seed, int(index)))
        maps, spectra = self._made[int(rng.integers(self.examples))]
        mirror = int(rng.integers(4))
        maps = ops.convert_to_numpy(statistics.turned(maps[None], mirror)[0])
        # Of a picture whose rows are mirrored it is the value at -f of the rows; of one whose
        # columns are, the complex conjugate of that.
        if mirror in (1, 2):
            spectra = np.roll(spectra[::-1], 1, axis=0)
        if mirror & 2:
            spectra = spectra * np.array([1, -1, 1, -1], spectra.dtype)
        return maps, spectra

    def _example(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        blurry, sharp = self.source(number)
        image = ops.convert_to_tensor(blurry[None] / np.float32(127.5) - 1.0)
        maps = ops.convert_to_numpy(statistics.statistics(image))[0]
        grays = [x.mean(axis=-1, dtype=np.float32) / 255.0 for x in (blurry, sharp)]
        spectra = [fft.rfft2((x - grays[0].mean()) * self._taper) for x in grays]
        parts = [part for x in spectra for part in (x.real, x.imag)]
        return maps.astype(np.float16), np.stack(parts, axis=-1).astype(np.float16)


def window_error(kernel: Tensor, log_ratio: Tensor, spectra: Tensor) -> tuple[Tensor, Tensor]:
    """Square error of `deconvolution.wiener` in windows, and of the blurry windows themselves.

    Args:
      kernel, log_ratio: see `deconvolution.wiener`.
      spectra: see `WindowSpectra`, float32.

    Returns:
      Mean over the tapered window, for images in [0, 1]: float32 [B] each.
    """
    real, imaginary = deconvolution.response(kernel, log_ratio, WINDOW, WINDOW)
    real, imaginary = real[..., : WINDOW // 2 + 1], imaginary[..., : WINDOW // 2 + 1]
    blurry_real, blurry_imaginary, sharp_real, sharp_imaginary = ops.unstack(spectra, axis=-1)
    # All but the first and the last column stand for their mirrored ones too.
    weight = np.full(WINDOW // 2 + 1, 2.0, np.float32)
    weight[[0, -1]] = 1.0

    def mean_square(x: Tensor, y: Tensor) -> Tensor:
        return ops.sum((ops.square(x) + ops.square(y)) * weight, axis=(1, 2)) / WINDOW**2

    return (
        mean_square(
            real * blurry_real - imaginary * blurry_imaginary - sharp_real,
            real * blurry_imaginary + imaginary * blurry_real - sharp_imaginary,
        ),
        mean_square(blurry_real - sharp_real, blurry_imaginary - sharp_imaginary),
    )


@configurable
@dataclasses.dataclass(frozen=True)
class WindowObjective(FilterObjective):
    """As `FilterObjective`, of the error in real windows, see `WindowSpectra`."""

    def errors(self, kernel: Tensor, log_ratio: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        """See `window_error`."""
        return window_error(kernel, log_ratio, ops.cast(truth, "float32"))
