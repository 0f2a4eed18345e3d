r"""PSNR of Wiener filters that know the true kernel: an upper bound for small models.

  python benchmarks/known_kernel.py --photos=TEST

Uses the photographs and the blur of `deblur-evaluate model --photos=TEST --crop=256`. The Wiener
filters have the true kernel and noise and a power spectrum c / f^2.2, with the best of five c for
each photograph; once with the full spectrum of the kernel, and once with its magnitude only,
without its phase.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from absl import app, flags

_PHOTOS = flags.DEFINE_string("photos", None, "Folder of sharp photographs.")
_CROP = flags.DEFINE_integer("crop", 256, "Side of the central crops.")

STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)
PAD = 48


def wiener(
    blurry: np.ndarray, kernel: np.ndarray, noise: float, strength: float, phase: bool
) -> np.ndarray:
    """Wiener-filtered image, uint8 [H, W, 3]; `noise` is a standard deviation, of 255."""
    padded = np.pad(blurry.astype(np.float64), ((PAD, PAD), (PAD, PAD), (0, 0)), "reflect")
    height, width = padded.shape[:2]
    shifted = np.zeros((height, width))
    shifted[: len(kernel), : len(kernel)] = kernel
    radius = len(kernel) // 2
    response = np.fft.fft2(np.roll(shifted, (-radius, -radius), (0, 1)))
    if not phase:
        response = np.abs(response)
    squared = np.fft.fftfreq(height)[:, None] ** 2 + np.fft.fftfreq(width) ** 2
    squared[0, 0] = 1.0 / (height * width)
    spectrum = strength / squared**1.1
    power = np.abs(response) ** 2 * spectrum + max(noise, 0.5) ** 2
    gain = np.conj(response) * spectrum / power
    mean = padded.mean(axis=(0, 1))
    sharp = np.fft.fft2(padded - mean, axes=(0, 1)) * gain[..., None]
    result = np.fft.ifft2(sharp, axes=(0, 1)).real + mean
    return np.round(np.clip(result, 0, 255)[PAD:-PAD, PAD:-PAD]).astype(np.uint8)


def main(argv: Sequence[str]) -> None:
    del argv
    from deblur_tf.data import blur
    from deblur_tf.data.blur import MARGIN
    from deblur_tf.data.photos import open_photos
    from deblur_tf.evaluation.baselines import best_smoothing
    from deblur_tf.evaluation.pairs import centre_crop, synthetic
    from deblur_tf.metrics.psnr import psnr

    photos = open_photos(_PHOTOS.value)
    pairs = synthetic(photos, _CROP.value)
    rows = []
    for i in range(len(photos)):
        pair = pairs[i]
        rng = np.random.default_rng((0, i))  # draws the same numbers as `synthetic`
        kernel = blur.random_kernel(rng)
        noise = 15.0 * rng.uniform()
        window = centre_crop(photos[i], _CROP.value + 2 * MARGIN)
        clean = blur.convolve(window, kernel)
        drawn = clean + noise * rng.standard_normal(clean.shape, dtype=np.float32)
        assert np.array_equal(np.round(np.clip(drawn, 0, 255)), pair.blurry)
        smooth = best_smoothing(pair.blurry, pair.sharp)
        row = [psnr(pair.blurry, pair.sharp), psnr(smooth, pair.sharp)]
        for phase in (False, True):
            found = [wiener(pair.blurry, kernel, noise, c, phase) for c in STRENGTHS]
            row.append(max(psnr(image, pair.sharp) for image in found))
        rows.append(row)
    names = ("blurry", "best smoothing", "Wiener, magnitude alone", "Wiener, true kernel")
    for name, mean in zip(names, np.mean(rows, axis=0), strict=True):
        print(f"{name}: {mean:.2f} dB")


if __name__ == "__main__":
    app.run(main)
