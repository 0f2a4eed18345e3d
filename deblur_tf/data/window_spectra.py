"""Training examples for blind deconvolution: statistics and spectra of windows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from keras import ops
from scipy import fft

from deblur_tf.base.registry import configurable
from deblur_tf.data.cache import ImageCache
from deblur_tf.data.pair_source import PairSource, Spec
from deblur_tf.networks import statistics, windows
from deblur_tf.networks.statistics import EVIDENCE, SIDE

# Side of the windows of `WindowSpectra` in pixels.
WINDOW = 256
HALF = WINDOW // 2
# Of an example in memory, in float16.
EXAMPLE_BYTES = 2 * (SIDE * SIDE * EVIDENCE + WINDOW * (HALF + 1) * 4)


@configurable
class WindowSpectra(PairSource):
    """What is known of each window of a blurry picture, and Fourier transforms of both pictures.

    The windows of a pair overlap by half, as those of `BlindWiener` do. Examples are made once
    and kept in memory, 0.6 MB each, and returned in one of eight orientations.

    Args:
      source: builds the source of square pairs, whose side is a multiple of 128 pixels.
      examples: number of different windows.
      seed: seed of their order and orientations.
    """

    crop_size = SIDE

    @property
    def spec(self) -> Spec:
        """Shapes and dtype of statistics and spectra."""
        return ((SIDE, SIDE, EVIDENCE), "float16"), ((WINDOW, WINDOW // 2 + 1, 4), "float16")

    def __init__(self, source: Callable[[], PairSource], examples: int = 8000, seed: int = 0):
        self.source = source()
        side = self.source.crop_size
        if side % HALF or side < WINDOW:
            raise ValueError(
                f"WindowSpectra needs pairs whose side is a multiple of {HALF} pixels, at least "
                f"{WINDOW}; got {side}"
            )
        self.examples = examples
        self.seed = seed
        self._windows = (side // HALF - 1) ** 2
        self._made = ImageCache(self._pair, max_bytes=(examples + self._windows) * EXAMPLE_BYTES)
        hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * (np.arange(WINDOW) + 0.5) / WINDOW)
        taper = np.outer(hann, hann)
        self._taper = (taper / np.sqrt(np.sum(taper**2))).astype(np.float32)

    def describe(self) -> str:
        """A phrase for the first line that a run prints."""
        return f"statistics of {self.examples} windows in {self.source.describe()}"

    def __call__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Example number `index`.

        Returns:
          `statistics.evidence` of the blurry window, float16 [64, 64, 41], and float16
          [256, 129, 4]: real and imaginary part of the Fourier transforms Y (blurry) and X
          (sharp), at half of the frequencies, since pictures are real.
        """
        rng = np.random.default_rng((self.seed, int(index)))
        pair, window = divmod(int(rng.integers(self.examples)), self._windows)
        maps, spectra = (made[window] for made in self._made[pair])
        orientation = int(rng.integers(statistics.ORIENTATIONS))
        maps = ops.convert_to_numpy(statistics.turned(maps[None], orientation)[0])
        return maps, turned_spectra(spectra, orientation)

    def _pair(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """`evidence` and spectra of all windows of a pair."""
        blurry, sharp = self.source(number)
        image = ops.convert_to_tensor(blurry[None] / np.float32(127.5) - 1.0)
        maps = statistics.evidence(windows.split(image, WINDOW))
        maps = ops.convert_to_numpy(ops.reshape(maps, (-1, SIDE, SIDE, EVIDENCE)))
        starts = range(0, blurry.shape[0] - HALF, HALF)
        spectra = [
            self._spectra(*(x[top : top + WINDOW, left : left + WINDOW] for x in (blurry, sharp)))
            for top in starts
            for left in starts
        ]
        return maps.astype(np.float16), np.stack(spectra)

    def _spectra(self, blurry: np.ndarray, sharp: np.ndarray) -> np.ndarray:
        grays = [x.mean(axis=-1, dtype=np.float32) / 255.0 for x in (blurry, sharp)]
        spectra = [fft.rfft2((x - grays[0].mean()) * self._taper) for x in grays]
        parts = [part for x in spectra for part in (x.real, x.imag)]
        return np.stack(parts, axis=-1).astype(np.float16)


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
