"""Blurry/sharp pairs from whole sharp photographs, by one of several named methods."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from deblur_tf.base.errors import DataError, UsageError
from deblur_tf.data import blur, camera
from deblur_tf.data.blur import MARGIN
from deblur_tf.data.realistic import RealisticBlur

REALISTIC_MARGIN = camera.MAX_SUPPORT // 2

# Maps photographs and a source of randomness to a blurry and a sharp picture.
Make = Callable[[Sequence[np.ndarray], np.random.Generator], tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Synthesis:
    """A method that blurs whole photographs.

    Attributes:
      title: a few words that describe the result.
      margin: pixels that are cut off on each side, since their blur depends on what lies
        outside the photograph.
      make: maps photographs, uint8 [H, W, 3] each, and a source of randomness to the blurry
        and the sharp version of the first one, uint8 [H - 2 margin, W - 2 margin, 3].
      photos: largest number of photographs that it uses.
    """

    title: str
    margin: int
    make: Make
    photos: int = 1

    def __call__(
        self, photos: Sequence[np.ndarray], rng: np.random.Generator, source: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """A blurry and a sharp picture; `source` names the first photograph in errors.

        Raises:
          DataError: if nothing of the first photograph is left without the margin.
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
    """One shake of a given extent in pixels for the whole picture; noise of stddev 1 of 255."""

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
    """The synthesis of the given name.

    Raises:
      UsageError: if there is none of that name, listing all names.
    """
    if name not in SYNTHESES:
        raise UsageError(f"no synthesis {name!r}; one of {', '.join(SYNTHESES)}")
    return SYNTHESES[name]
