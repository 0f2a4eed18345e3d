"""Blurry/sharp training pairs made from sharp photographs, in NumPy.

A pair is a pure function of (seed, index): any worker can make any pair, and a
restarted run sees the pairs it would have seen.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from deblur_tf.base.errors import DataError
from deblur_tf.base.registry import configurable, resumable
from deblur_tf.data import blur
from deblur_tf.data.augment import random_crop, random_dihedral
from deblur_tf.data.blur import MARGIN
from deblur_tf.data.pair_source import PairSource
from deblur_tf.data.parts import Part, word
from deblur_tf.data.photos import PhotoSet, open_photos

# Smallest side of a photo in pixels; smaller ones would be mostly reflections.
MIN_SIDE = 16


class SyntheticPairs(PairSource):
    """What `PairGenerator` and `device.DevicePairs` make their pairs from.

    Args:
      photos: sharp photographs, a folder of them, or None for the bundled ones.
      reductions: factors by which the photos of a folder are reduced, see `PhotoSet`.
      bundled: whether the bundled photographs stand in where `photos` is None; else that is an
        error.
      part: which photos of a folder, see `parts.spread`.
      crop_size: side of a pair in pixels; 128 in the papers.
      max_extent: extent of the longest shake in pixels, up to 30.
      max_stddev: standard deviation of the strongest noise, on a scale of 255.
      mildness: above 1, mild shake and noise are drawn more often, see
        `blur.random_kernel`; 1 in the papers.
      seed: with the index, decides everything about a pair.
    """

    def __init__(
        self,
        photos: PhotoSet | str | os.PathLike[str] | None = None,
        crop_size: int = 128,
        max_extent: float = 30.0,
        max_stddev: float = 15.0,
        mildness: float = 1.0,
        seed: int = 0,
        reductions: Sequence[int] = (1,),
        part: Part = "all",
        bundled: bool = True,
    ):
        if photos is None and not bundled:
            raise DataError(
                "this configuration learns from photographs of your own: give --photos, or PHOTOS "
                "in a gin file"
            )
        if not isinstance(photos, PhotoSet):
            photos = open_photos(photos, reductions, part, MIN_SIDE)
        if not 0.0 <= max_extent <= blur.MAX_SUPPORT - 1:
            raise ValueError(
                f"max_extent must be from 0 to {blur.MAX_SUPPORT - 1} px, got {max_extent}"
            )
        self.photos = photos
        self.part: Part = part
        self.crop_size = crop_size
        self.max_extent = max_extent
        self.max_stddev = max_stddev
        self.mildness = mildness
        self.seed = seed

    def describe(self) -> str:
        """A phrase for the first line that a run prints."""
        sharp = not self.max_extent and not self.max_stddev
        how = "not blurred" if sharp else "with synthetic blur"
        return f"{len(self.photos.paths)} photos{word(self.part, self.photos.total)} {how}"


@configurable
@resumable("photos")
class PairGenerator(SyntheticPairs):
    """Random crops of photos, blurred by random camera shake (DvSR app. C).

    Args: see `SyntheticPairs`.
    """

    def __call__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Pair number `index`: blurry and sharp, uint8 [crop, crop, 3] each.

        Crop, flip and rotation come before the blur, so both images share them
        and no direction of shake is favoured.
        """
        rng = np.random.default_rng((self.seed, int(index)))
        photo = self.photos[int(rng.integers(len(self.photos)))]
        window = random_crop(photo, self.crop_size, MARGIN, rng)
        window = np.ascontiguousarray(random_dihedral(window, rng))
        blurry = blur.degrade(window, rng, self.max_extent, self.max_stddev, self.mildness)
        return blurry, window[MARGIN:-MARGIN, MARGIN:-MARGIN]
