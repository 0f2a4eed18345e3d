"""Random crops, flips and rotations, equal for both images of a pair."""

from __future__ import annotations

import numpy as np


def random_crop(photo: np.ndarray, size: int, margin: int, rng: np.random.Generator) -> np.ndarray:
    """A random `size` x `size` window with `margin` more pixels on each side.

    The margin lies inside the photo too, unless the photo is too small: then it is extended
    by reflection. uint8 [H, W, C] -> uint8 [size + 2 margin, size + 2 margin, C].
    """
    side = size + 2 * margin
    photo = extended(photo, side)
    top, left = (int(rng.integers(n - side + 1)) for n in photo.shape[:2])
    return photo[top : top + side, left : left + side]


def extended(image: np.ndarray, side: int) -> np.ndarray:
    """An image continued by reflection, where it is smaller, up to `side` pixels: [H, W, C]."""
    short = [max(side - n, 0) for n in image.shape[:2]]
    if not any(short):
        return image
    pads = [(n // 2, n - n // 2) for n in short] + [(0, 0)]
    return np.pad(image, pads, mode="symmetric")


def random_dihedral(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of the eight flips and 90-degree rotations (DvSR sec. 5.2)."""
    return dihedral(image, int(rng.integers(8)))


def dihedral(image: np.ndarray, code: int) -> np.ndarray:
    """Flip or rotation number `code`, 0 to 7; odd ones swap height and width."""
    if code >= 4:
        image = image[:, ::-1]
    return np.rot90(image, code % 4)


def random_pair_crop(
    blurry: np.ndarray, sharp: np.ndarray, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The same random crop, flip and rotation of both images.

    Smaller images are continued by reflection. Each: uint8 [H, W, 3] -> uint8 [size, size, 3].
    """
    blurry, sharp = extended(blurry, size), extended(sharp, size)
    top, left = (int(rng.integers(n - size + 1)) for n in sharp.shape[:2])
    window = (slice(top, top + size), slice(left, left + size))
    both = np.concatenate([blurry[window], sharp[window]], axis=-1)
    both = random_dihedral(both, rng)
    return np.ascontiguousarray(both[..., :3]), np.ascontiguousarray(both[..., 3:])
