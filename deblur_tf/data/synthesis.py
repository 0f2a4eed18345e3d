"""Blurry/sharp pairs from whole sharp photographs, in one of several named ways."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from deblur_tf.base.errors import DataError, UsageError
from deblur_tf.data import blur, camera
from deblur_tf.data.blur import MARGIN
from deblur_tf.data.realistic import RealisticBlur

REALISTIC_MARGIN = camera.MAX_SUPPORT // 2

# From the photographs that it takes and a source of randomness to blurry and sharp.
Make = Callable[[Sequence[np.ndarray], np.random.Generator], tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Synthesis:
    """A way to blur whole photographs.

    Attributes:
      title: what it gives, in a few words.
      margin: pixels that are cut off on each side, since what lies beyond is not known.
      make: from photographs, uint8 [H, W, 3] each, and randomness to blurry and sharp, uint8
        [H - 2 margin, W - 2 margin, 3] of the first.
      photos: how many photographs it may take.
    """

    title: str
    margin: int
    make: Make
    photos: int = 1

    def __call__(
        self, photos: Sequence[np.ndarray], rng: np.random.Generator, source: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """Blurry and sharp of photographs; `source` names the first of them in errors.

        Raises:
          DataError: if nothing of it would be left.
        """
        if min(photos[0].shape[:2]) <= 2 * self.margin:
            raise DataError(f"{source}: smaller than {2 * self.margin + 1} pixels")
        return self.make(photos, rng)


def shaken(
    photo: np.ndarray, rng: np.random.Generator, source: str
) -> tuple[np.ndarray, np.ndarray]:
    """A photo under random camera shake and noise (DvSR app. C): `SYNTHESES["dvsr"]`."""
    return SYNTHESES["dvsr"]([photo], rng, source)


def _dvsr(photos: Sequence[np.ndarray], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return blur.degrade(photos[0], rng), photos[0][MARGIN:-MARGIN, MARGIN:-MARGIN]


def _shake(extent: float) -> Make:
    """One shake of a given extent in pixels over the whole picture, and noise of 1 of 255."""

    def make(
        photos: Sequence[np.ndarray], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        path = blur.shake_trajectory(rng, exponent=rng.uniform(*blur.EXPONENTS))
        blurry = blur.convolve(photos[0], blur.rasterize(extent * path))
        blurry = blurry + rng.standard_normal(blurry.shape, dtype=np.float32)
        blurry = np.round(np.clip(blurry, 0.0, 255.0)).astype(np.uint8)
        return blurry, photos[0][MARGIN:-MARGIN, MARGIN:-MARGIN]

    return make


def _realistic(
    photos: Sequence[np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """As in training, but the photograph is not reduced, turned or cropped any further."""
    settings = RealisticBlur(scale=(1.0, 1.0), turned=False)
    size = tuple(n - 2 * REALISTIC_MARGIN for n in photos[0].shape[:2])
    taken = photos if rng.uniform() < settings.moving else photos[:1]
    return settings.pair(taken, size, rng)


SYNTHESES = {
    "dvsr": Synthesis("under synthetic camera shake", MARGIN, _dvsr),
    "realistic": Synthesis("under realistic blur", REALISTIC_MARGIN, _realistic, photos=2),
    "shake10": Synthesis("under a uniform shake of 10 pixels", MARGIN, _shake(10.0)),
    "shake20": Synthesis("under a uniform shake of 20 pixels", MARGIN, _shake(20.0)),
}


def named(name: str) -> Synthesis:
    """The synthesis of a name.

    Raises:
      UsageError: listing those that there are, if there is none of that name.
    """
    if name not in SYNTHESES:
        raise UsageError(f"no synthesis {name!r}; one of {', '.join(SYNTHESES)}")
    return SYNTHESES[name]
