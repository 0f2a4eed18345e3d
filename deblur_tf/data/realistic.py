"""Blurry/sharp training pairs with the blur of real photographs, in NumPy.

A model generalises to photographs only if its training pairs have what camera shake in stored
values (`data.pairs`) lacks: blur in linear light, saturated highlights, blur that varies over
the picture, moving objects, sensor noise, and degradation by resizing and JPEG.
Rim et al. ("Realistic Blur Synthesis for Learning Image Deblurring", 2022) measured by how much
most of these matter.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from deblur_tf.base.registry import configurable, resumable
from deblur_tf.data import camera, sensor
from deblur_tf.data.augment import dihedral
from deblur_tf.data.pair_source import PairSource
from deblur_tf.data.pairs import MIN_SIDE
from deblur_tf.data.parts import Part, word
from deblur_tf.data.photos import PhotoSet, open_photos

Interval = tuple[float, float]
MARGIN = camera.MAX_SUPPORT // 2

_PROBABILITIES = (
    *("in_light", "brightened", "straight", "moving", "defocus", "sensor_noise", "mosaic"),
    *("resized", "jpeg", "plain"),
)
_RANGES = (
    *("scale", "gamma", "brightening", "moving_share", "defocus_stddev", "shot", "read"),
    *("resize", "quality"),
)


# Settings of pairs under nothing but a shake, see `RealisticBlur.plain`.
PLAIN: dict[str, Any] = {
    "in_light": 0.0,
    "extents": ((0.05, 0.0, 0.0), (0.6, 2.0, 12.0), (0.35, 12.0, 22.0)),
    "straight": 0.2,
    "edge": 0.0,
    "defocus": 0.0,
    "sensor_noise": 0.0,
    "white": 2.0,
    "resized": 0.0,
    "jpeg": 0.1,
}


@configurable
@dataclasses.dataclass(frozen=True)
class RealisticBlur:
    """How a sharp photograph becomes a blurry one. Probabilities are in [0, 1].

    Attributes:
      scale: factor by which the photograph is first scaled down, with an area filter; at 1 it
        keeps the softness and the noise of its own camera.
      turned: whether photographs are flipped and rotated at random.
      in_light: probability of blur in linear light; otherwise in stored values, as in frames of
        video that were averaged after their tone curve (GoPro).
      gamma: gamma of the tone curve, see `sensor.to_light`.
      brightened: probability, given blur in linear light, that nearly clipped pixels are made
        brighter than can be stored, by a factor 1 + U(`brightening`) (RSBlur's range).
      brightening: see `brightened`.
      extents: shares and ranges in pixels of the extent of the motion, see `camera.EXTENTS`.
      straight: probability that a path is nearly straight; otherwise it is tremor.
      edge: largest displacement of the frame's edge by roll and by zoom, in pixels.
      frame: height and width of the frame in which a pair lies at a random position.
      moving: probability of an object with a motion of its own, from another photograph.
      moving_share: share of the pair that the object covers.
      defocus: probability of an additional slight Gaussian blur.
      defocus_stddev: standard deviation of that blur in pixels.
      sensor_noise: probability of shot and read noise; otherwise it is white.
      shot: shot noise, variance per unit of raw light; drawn log-uniformly.
      read: read noise, standard deviation in raw light; drawn log-uniformly.
      white: largest standard deviation of white noise, on a scale of 255; drawn uniformly.
      mosaic: probability, given shot noise, of a colour filter array.
      resized: probability of scaling down and up again.
      resize: factor by which the image is scaled down.
      jpeg: probability of JPEG compression.
      quality: quality of the JPEG.
      plain: probability of nothing but one shake of the whole picture in stored values with weak
        noise (`PLAIN`), as other software and test sets blur photographs.
    """

    scale: Interval = (0.5, 1.0)
    turned: bool = True
    in_light: float = 0.6
    gamma: Interval = (1.8, 2.4)
    brightened: float = 0.3
    brightening: Interval = (0.25, 1.75)
    extents: Sequence[tuple[float, float, float]] = camera.EXTENTS
    straight: float = 0.5
    edge: float = 12.0
    frame: tuple[int, int] = (720, 1280)
    moving: float = 0.35
    moving_share: Interval = (0.1, 0.6)
    defocus: float = 0.15
    defocus_stddev: Interval = (0.4, 1.4)
    sensor_noise: float = 0.75
    shot: Interval = (2e-5, 2e-3)
    read: Interval = (3e-4, 8e-3)
    white: float = 8.0
    mosaic: float = 0.3
    resized: float = 0.15
    resize: Interval = (0.6, 0.95)
    jpeg: float = 0.5
    quality: tuple[int, int] = (70, 98)
    plain: float = 0.0

    def __post_init__(self) -> None:
        for name in _PROBABILITIES:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(
                    f"RealisticBlur.{name} is a probability, from 0 to 1; got {getattr(self, name)}"
                )
        for name in _RANGES:
            low, high = getattr(self, name)
            if not 0.0 < low <= high:
                raise ValueError(
                    f"RealisticBlur.{name} is a range of positive numbers, low to high; got "
                    f"{getattr(self, name)}"
                )
        if abs(sum(share for share, _, _ in self.extents) - 1.0) > 1e-6:
            raise ValueError("RealisticBlur.extents: the shares must add up to 1")
        longest = max(high for _, _, high in self.extents)
        if longest > camera.MAX_SUPPORT - 1:
            raise ValueError(
                f"RealisticBlur.extents: at most {camera.MAX_SUPPORT - 1} pixels, got {longest}"
            )

    def pair(
        self, photos: Sequence[np.ndarray], size: tuple[int, int], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """A blurry and a sharp picture.

        Args:
          photos: uint8 [H, W, 3] each; the first is the scene, a second one moves in it.
          size: height and width of the pair in pixels.
          rng: source of randomness.

        Returns:
          uint8 [height, width, 3] twice. The sharp one shows everything where it was on average
          over the exposure.
        """
        if self.plain and rng.uniform() < self.plain:
            return dataclasses.replace(self, plain=0.0, **PLAIN).pair(photos[:1], size, rng)
        gamma = rng.uniform(*self.gamma)
        in_light = rng.uniform() < self.in_light
        extent = camera.random_extent(rng, self.extents)
        centre = (rng.uniform(size=2) - 0.5) * np.maximum(np.subtract(self.frame, size), 0)
        motion = self._motion(rng, extent)
        kernels = camera.kernel_grid(motion, centre, size)
        defocus = rng.uniform(*self.defocus_stddev) if rng.uniform() < self.defocus else 0.0

        sharp = self._window(photos[0], size, rng)
        scene = self._scene(sharp, in_light, gamma, rng)
        blurry = camera.blurred(scene, kernels, defocus)
        if len(photos) > 1:
            share = rng.uniform(*self.moving_share)
            mask = camera.random_mask(rng, sharp.shape[:2], share)[..., None]
            # The object moves with the camera, and by itself.
            own = self._motion(rng, camera.random_extent(rng, self.extents))
            both = dataclasses.replace(motion, shift=motion.shift + own.shift)
            kernels = camera.kernel_grid(both, centre, size)
            thing = self._window(photos[1], size, rng)
            light = self._scene(thing, in_light, gamma, rng)
            covered = camera.blurred(np.concatenate([light * mask, mask], -1), kernels, defocus)
            blurry = blurry * (1.0 - covered[..., 3:]) + covered[..., :3]
            sharp = sharp + mask * (thing - sharp)

        stored = self._sensor(blurry if in_light else sensor.to_light(blurry, gamma), gamma, rng)
        blurry = self._file(stored, rng)
        return blurry, sensor.quantized(sharp[MARGIN:-MARGIN, MARGIN:-MARGIN])

    def _motion(self, rng: np.random.Generator, extent: float) -> camera.Motion:
        return camera.random_motion(rng, extent, self.straight, self.edge, self.frame)

    def _window(
        self, photo: np.ndarray, size: tuple[int, int], rng: np.random.Generator
    ) -> np.ndarray:
        """A random crop with margins, scaled and turned: float32 [height + 60, width + 60, 3].

        A photo that is too small for the drawn scale is scaled down less; one that is too small
        at its full size is extended by reflection.
        """
        code = int(rng.integers(8)) if self.turned else 0
        wanted = np.array([n + 2 * MARGIN for n in size])
        if code % 2:
            wanted = wanted[::-1]
        short = np.maximum(wanted - photo.shape[:2], 0)
        if short.any():
            pads = [(n // 2, n - n // 2) for n in short.tolist()]
            photo = np.pad(photo, [*pads, (0, 0)], mode="symmetric")
        least = float(np.max(wanted / photo.shape[:2]))
        scale = max(rng.uniform(*self.scale), least)
        taken = wanted / scale
        top, left = (
            rng.uniform(0.0, max(n - t, 0.0)) for n, t in zip(photo.shape, taken, strict=False)
        )
        if scale == 1.0:
            top, left = int(top), int(left)
        bottom, right = min(top + taken[0], photo.shape[0]), min(left + taken[1], photo.shape[1])
        reduced = Image.fromarray(photo).resize(
            (int(wanted[1]), int(wanted[0])), Image.Resampling.BOX, (left, top, right, bottom)
        )
        window = dihedral(np.asarray(reduced), code)
        return np.ascontiguousarray(window, np.float32) / np.float32(255.0)

    def _scene(
        self, stored: np.ndarray, in_light: bool, gamma: float, rng: np.random.Generator
    ) -> np.ndarray:
        """What is averaged over the exposure: linear light, or stored values."""
        if not in_light:
            return stored
        light = sensor.to_light(stored, gamma)
        if rng.uniform() < self.brightened:
            light = sensor.brightened(light, 1.0 + rng.uniform(*self.brightening))
        return light

    def _sensor(self, light: np.ndarray, gamma: float, rng: np.random.Generator) -> np.ndarray:
        """Stored values for linear light, with noise: float32."""
        light = np.clip(light, 0.0, 1.0)
        if rng.uniform() < self.sensor_noise:
            shot, read = (np.exp(rng.uniform(*np.log(x))) for x in (self.shot, self.read))
            mosaic = rng.uniform() < self.mosaic
            light = sensor.shot_and_read_noise(light, rng, shot, read, mosaic)
            return sensor.to_stored(light, gamma)
        stored = sensor.to_stored(light, gamma)
        stddev = self.white * rng.uniform() / 255.0
        noise = rng.standard_normal(stored.shape, dtype=np.float32)
        return stored + np.where(stored < sensor.CLIPPED, stddev, 0.0).astype(np.float32) * noise

    def _file(self, stored: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """What an image file holds after resizing and compression: uint8."""
        image = sensor.quantized(stored)
        if rng.uniform() < self.resized:
            image = sensor.resized_and_back(image, rng.uniform(*self.resize))
        if rng.uniform() < self.jpeg:
            low, high = self.quality
            image = sensor.compressed(image, int(rng.integers(low, high + 1)))
        return image


@configurable
@resumable("photos")
class RealisticPairs(PairSource):
    """Random parts of photographs under realistic blur.

    Args:
      photos: sharp photographs, a folder of them, or None for the bundled ones.
      blur: how the photographs are blurred.
      crop_size: side of a pair in pixels.
      seed: with the index, decides everything about a pair.
      part: which photos of a folder, see `parts.spread`.
    """

    def __init__(
        self,
        photos: PhotoSet | str | os.PathLike[str] | None = None,
        blur: RealisticBlur = RealisticBlur(),
        crop_size: int = 256,
        seed: int = 0,
        part: Part = "all",
    ):
        if not isinstance(photos, PhotoSet):
            photos = open_photos(photos, part=part, min_side=MIN_SIDE)
        self.photos = photos
        self.blur = blur
        self.crop_size = crop_size
        self.seed = seed
        self.part: Part = part

    def describe(self) -> str:
        """A phrase for the first line that a run prints."""
        return f"{len(self.photos)} photos{word(self.part, self.photos.total)} with realistic blur"

    def __call__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Pair number `index`: blurry and sharp, uint8 [crop, crop, 3] each."""
        rng = np.random.default_rng((self.seed, int(index)))
        count = 2 if rng.uniform() < self.blur.moving else 1
        photos = [self.photos[int(rng.integers(len(self.photos)))] for _ in range(count)]
        return self.blur.pair(photos, (self.crop_size, self.crop_size), rng)
