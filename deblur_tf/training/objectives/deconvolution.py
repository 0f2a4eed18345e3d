"""Learning blind deconvolution from statistics, with the error of its filter in closed form.

A filter W of a blurry window leaves the error W Y - X at each frequency, with Y and X the Fourier
transforms of the blurry and of the sharp window. So neither filter nor loss needs a picture: an
example consists of 64x64 maps and two small spectra, for any kind of blur.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from keras import ops

from deblur_tf.base.registry import configurable
from deblur_tf.base.types import Tensor
from deblur_tf.data.window_spectra import WINDOW
from deblur_tf.networks.blind_wiener import BlindWiener, response
from deblur_tf.training.objectives.base import TrainingObjective

# Added to errors before the logarithm, so that an image that is already sharp counts little.
FLOOR = 1e-5


def window_error(kernel: Tensor, log_ratio: Tensor, spectra: Tensor) -> tuple[Tensor, Tensor]:
    """Squared error of windows after `blind_wiener.wiener`, and of the blurry windows themselves.

    Args:
      kernel, log_ratio: see `blind_wiener.wiener`.
      spectra: see `WindowSpectra`, float32.

    Returns:
      Means over the tapered window, for images in [0, 1]: float32 [B] each.
    """
    real, imaginary = response(kernel, log_ratio, WINDOW, WINDOW)
    real, imaginary = real[..., : WINDOW // 2 + 1], imaginary[..., : WINDOW // 2 + 1]
    blurry_real, blurry_imaginary, sharp_real, sharp_imaginary = ops.unstack(spectra, axis=-1)
    # All columns but the first and the last also represent their mirrored columns.
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
class WindowObjective(TrainingObjective):
    """Logarithm of the share of the error that remains after a model's deconvolution.

    All images count alike, whatever their error; see `losses.log_mse`.
    """

    def __call__(
        self, model: Any, blurry: Tensor, sharp: Tensor, step: Tensor, items: Tensor
    ) -> dict[str, Tensor]:
        """ "loss", and "gain" (decrease of the error in dB), for `WindowSpectra`: [B] each."""
        del step, items  # nothing is drawn
        predictor = model.predictor
        reader = predictor if isinstance(predictor, BlindWiener) else predictor.deconvolution
        kernel, log_ratio = reader.read(ops.cast(blurry, "float32"))
        error, before = window_error(kernel, log_ratio, ops.cast(sharp, "float32"))
        loss = ops.log(error + FLOOR) - ops.log(before + FLOOR)
        return {"loss": loss, "gain": -10.0 / np.log(10.0) * loss}
