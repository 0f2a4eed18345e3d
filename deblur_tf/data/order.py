"""The order in which training crops are taken from a data set, as plain arithmetic."""

from __future__ import annotations

import functools

import numpy as np


class CropOrder:
    """Maps the number of a crop, i = 0, 1, 2, ..., to the image that it is taken from.

    Every epoch takes `crops_per_image` crops of each image. Images are shuffled
    anew each epoch. Crops are shuffled within blocks of `block_images` images,
    so that an image decoded once serves all its crops while neighbours in a
    batch come from different images. The order is a pure function of (seed, i):
    any worker can compute it for any crop, and resuming costs nothing.

    Args:
      images: number of images.
      crops_per_image: crops per image in an epoch.
      block_images: images in a block; twice as many should fit into memory.
      seed: seed of all shuffles.
    """

    def __init__(
        self, images: int, crops_per_image: int = 8, block_images: int = 64, seed: int = 0
    ):
        for name, value in (
            ("images", images),
            ("crops_per_image", crops_per_image),
            ("block_images", block_images),
        ):
            if value < 1:
                raise ValueError(f"{name} must be 1 or more, got {value}")
        self.images = images
        self.crops_per_image = crops_per_image
        self.block_images = min(block_images, images)
        self.seed = seed
        self._images = functools.lru_cache(4)(self._image_permutation)
        self._crops = functools.lru_cache(8)(self._crop_permutation)

    @property
    def epoch_crops(self) -> int:
        """Number of crops in an epoch."""
        return self.images * self.crops_per_image

    def __call__(self, index: int) -> int:
        """The image of crop `index`, in [0, images)."""
        epoch, within = divmod(int(index), self.epoch_crops)
        block, position = divmod(within, self.block_images * self.crops_per_image)
        slot = self._crops(epoch, block)[position] // self.crops_per_image
        return int(self._images(epoch)[block * self.block_images + slot])

    def _image_permutation(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self.seed, epoch)).permutation(self.images)

    def _crop_permutation(self, epoch: int, block: int) -> np.ndarray:
        count = min(self.block_images, self.images - block * self.block_images)
        rng = np.random.default_rng((self.seed, epoch, block))
        return rng.permutation(count * self.crops_per_image)
