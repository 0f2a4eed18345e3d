"""The fixed validation grid of a training run."""

from __future__ import annotations

import numpy as np

from deblur_tf.data.pair_source import PairSource
from deblur_tf.metrics.psnr import psnr
from deblur_tf.models.restoration import Restoration, sample_keys
from deblur_tf.numerics import image_ops
from deblur_tf.storage.arrays import Arrays, assign_named, frozen_variables, named_variables
from deblur_tf.training.histories import SCORE
from deblur_tf.training.recipe import Recipe

# Number of the first validation pair; training does not reach such numbers.
FIRST_PAIR = 2**62


class Validation:
    """Restores a few fixed pairs with the averaged weights.

    A second model holds the averages; the training weights are not changed.

    Args:
      recipe: gives the model and the settings.
      source: gives the pairs, from number `FIRST_PAIR` on. If it is the source of the
        training pairs, these are crops and blur that training does not see.
      frozen: weights that training does not change, see `Stepper.frozen`.
    """

    def __init__(self, recipe: Recipe, source: PairSource, frozen: Arrays | None = None):
        pairs = [source(FIRST_PAIR + i) for i in range(recipe.validation_images)]
        self.blurry, self.sharp = (np.stack(images) for images in zip(*pairs, strict=True))
        self.seed = recipe.seed
        self.model = recipe.model()
        self.model.build()
        assign_named(frozen_variables(self.model), frozen or {}, "frozen weights")
        self.restoration = Restoration(self.model)
        self.schedule = recipe.sampling.schedule(self.model.schedule_kind)

    def __call__(self, weights: Arrays) -> tuple[dict[str, float], np.ndarray]:
        """Mean PSNR in dB of blurry and restored images, and a picture of all pairs.

        The PSNR of the blurry images is left out if they equal the sharp ones; both figures are
        left out if the model does not restore (`Restorer.restores`).
        The picture is uint8 [images * H, 3 * W, 3]: blurry, restored, sharp.
        """
        named = named_variables(self.model, trainable_only=True)
        assign_named(named, weights, "averaged weights")
        sample = self.restoration(
            image_ops.to_model_range(self.blurry),
            sample_keys(self.seed, np.arange(len(self.blurry))),
            self.schedule,
        )
        restored = image_ops.to_uint8_array(sample)
        compared = {"psnr_blurry": self.blurry, SCORE: restored}
        if np.array_equal(self.blurry, self.sharp):
            del compared["psnr_blurry"]
        figures = {
            name: float(np.mean([psnr(a, b) for a, b in zip(images, self.sharp, strict=True)]))
            for name, images in compared.items()
            if self.model.restores
        }
        rows = np.concatenate([self.blurry, restored, self.sharp], axis=2)
        return figures, rows.reshape(-1, *rows.shape[2:])
