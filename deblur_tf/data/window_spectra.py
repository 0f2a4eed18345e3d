"""Training examples for blind deconvolution: statistics and spectra of windows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from keras import ops
from scipy import fft

from deblur_tf.base.registry import configurable
from deblur_tf.data.cache import ImageCache
from deblur_tf.data.pair_source import PairSource, Spec
from deblur_tf.networks import statistics
from deblur_tf.networks.statistics import CHANNELS, SIDE

# Side of the windows of `WindowSpectra` in pixels.
WINDOW = 256


@configurable
class WindowSpectra(PairSource):
    """Statistics of the blurry picture of each pair, and Fourier transforms of both pictures.

    Examples are made once and kept in memory, 0.4 MB each, and returned in one of eight
    orientations.

    Args:
      source: builds the source of pairs of 256x256 pixels.
      examples: number of different examples.
      seed: seed of their order and orientations.
    """

    crop_size = SIDE

    @property
    def spec(self) -> Spec:
        """Shapes and dtype of statistics and spectra."""
        return ((SIDE, SIDE, CHANNELS), "float16"), ((WINDOW, WINDOW // 2 + 1, 4), "float16")

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
        """A phrase for the first line that a run prints."""
        return f"statistics of {self.examples} windows of {self.source.describe()}"

    def __call__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Example number `index`.

        Returns:
          `statistics.statistics` of the blurry picture, float16 [64, 64, 20], and float16
          [256, 129, 4]: real and imaginary part of the Fourier transforms Y (blurry) and X
          (sharp), at half of the frequencies, since pictures are real.
        """
        rng = np.random.default_rng((self.seed, int(index)))
        maps, spectra = self._made[int(rng.integers(self.examples))]
        orientation = int(rng.integers(statistics.ORIENTATIONS))
        maps = ops.convert_to_numpy(statistics.turned(maps[None], orientation)[0])
        return maps, turned_spectra(spectra, orientation)

    def _example(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        blurry, sharp = self.source(number)
        image = ops.convert_to_tensor(blurry[None] / np.float32(127.5) - 1.0)
        maps = ops.convert_to_numpy(statistics.statistics(image))[0]
        grays = [x.mean(axis=-1, dtype=np.float32) / 255.0 for x in (blurry, sharp)]
        spectra = [fft.rfft2((x - grays[0].mean()) * self._taper) for x in grays]
        parts = [part for x in spectra for part in (x.real, x.imag)]
        return maps.astype(np.float16), np.stack(parts, axis=-1).astype(np.float16)


_CONJUGATE = np.array([1, -1, 1, -1], np.float16)


def turned_spectra(spectra: np.ndarray, orientation: int) -> np.ndarray:
    """Spectra of the pictures in another orientation, up to a phase that both pictures share.

    Args:
      spectra: see `WindowSpectra`, [256, 129, 4].
      orientation: see `statistics.turned`.
    """
    # Mirrored rows take the value at the negative row frequency; mirrored columns take the
    # complex conjugate of that value, since pictures are real.
    if orientation & 3 in (1, 2):
        spectra = np.roll(spectra[::-1], 1, axis=0)
    if orientation & 2:
        spectra = spectra * _CONJUGATE
    if orientation & 4:
        rest = np.roll(spectra[::-1, WINDOW // 2 - 1 : 0 : -1], 1, axis=0) * _CONJUGATE
        spectra = np.swapaxes(np.concatenate([spectra, rest], axis=1), 0, 1)
        spectra = spectra[:, : WINDOW // 2 + 1]
    return spectra
