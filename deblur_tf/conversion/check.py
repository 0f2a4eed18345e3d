"""Checks that a converted prior works, without a reference implementation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from keras import ops

from deblur_tf.base.errors import UsageError
from deblur_tf.diffusion.process import q_sample
from deblur_tf.diffusion.schedules import stable_diffusion_levels
from deblur_tf.metrics.psnr import psnr
from deblur_tf.models.deblurdiff import LatentDiffusion
from deblur_tf.numerics import image_ops

TIMESTEPS = (100, 500, 900)


class Findings(NamedTuple):
    """Result of `check`.

    Attributes:
      psnr: PSNR of the image after encoding and decoding by the autoencoder, in dB.
      errors: for each timestep, (timestep, mean square error of the output taken as noise,
        mean square error of the output taken as velocity).
    """

    psnr: float
    errors: tuple[tuple[int, float, float], ...]

    def lines(self, expected: str) -> list[str]:
        """The lines to print; `expected` is "noise" or "velocity"."""
        text = [f"round trip of the autoencoder: {self.psnr:.2f} dB"]
        for timestep, noise, velocity in self.errors:
            nearer = "noise" if noise < velocity else "velocity"
            well = nearer == expected and min(noise, velocity) < 0.8
            text.append(
                f"timestep {timestep}: error {noise:.4f} as noise, {velocity:.4f} as velocity: "
                f"{'as set' if well else f'NOT what the model is set to ({expected})'}"
            )
        return text


def check(model: LatentDiffusion, image: np.ndarray, seed: int = 0) -> Findings:
    """Encodes and decodes an image, and denoises its latent at three timesteps.

    Args:
      model: a converted prior.
      image: uint8 [H, W, 3]; only the centre is used, at most `model.largest_tile` pixels
        high and wide.
      seed: seed of the noise.

    Raises:
      UsageError: if the image is smaller than `model.size_multiple`.
    """
    multiple = model.size_multiple
    height, width = (min(n, model.largest_tile) // multiple * multiple for n in image.shape[:2])
    if not height or not width:
        raise UsageError(
            f"a picture of {image.shape[1]}x{image.shape[0]} pixels is too small to check with: "
            f"give one of {multiple}x{multiple} or more"
        )
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    image = image[None, top : top + height, left : left + width]
    latent = model.vae.encode(image_ops.to_model_range(image))
    found = psnr(image_ops.to_uint8_array(model.vae.decode(latent))[0], image[0])
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(latent.shape).astype("float32")
    errors = []
    for timestep in TIMESTEPS:
        level = stable_diffusion_levels()[timestep]
        levels = np.array([level], "float32")
        noisy = q_sample(latent, noise, levels)
        result = model.unet(noisy, model.timestep(levels), model.context)
        velocity = level * noise - np.sqrt(1.0 - level**2) * latent
        errors.append(
            (timestep, *(float(ops.mean(ops.square(result - w))) for w in (noise, velocity)))
        )
    return Findings(float(found), tuple(errors))
