"""Blurry/sharp pairs from the frames of a video: blur is the mean of consecutive frames.

This is how GoPro's pairs were made (Nah et al. 2017): the mean of 7 to 13 frames of a camera that
takes 240 a second stands for one long exposure, and the frame in the middle is the sharp picture.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from deblur_tf.base.errors import DataError
from deblur_tf.data.photos import list_images
from deblur_tf.image_files.reading import read_rgb


def clips(root: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """The frames of each clip, in the order of their names.

    A folder that has pictures is a clip; its name is the path below `root`, joined by "-".

    Raises:
      DataError: if there are no pictures.
    """
    found: dict[str, list[pathlib.Path]] = {}
    for path in list_images(root):
        parts = path.relative_to(root).parts[:-1]
        found.setdefault("-".join(parts) or root.resolve().name, []).append(path)
    return found


def windows(
    frames: Mapping[str, Sequence[pathlib.Path]], count: int, stride: int
) -> dict[str, list[pathlib.Path]]:
    """The frames that are averaged to each picture, by "<clip>-<name of the frame in the middle>".

    Args:
      frames: the frames of each clip.
      count: frames of a picture, odd.
      stride: frames between the first ones of two pictures.

    Raises:
      DataError: if no clip has `count` frames.
    """
    found = {}
    for clip, paths in frames.items():
        for first in range(0, len(paths) - count + 1, stride):
            taken = list(paths[first : first + count])
            found[f"{clip}-{taken[count // 2].stem}"] = taken
    if not found:
        longest = max(map(len, frames.values()))
        raise DataError(f"no folder has {count} frames; the longest has {longest}")
    return found


def averaged(paths: Sequence[pathlib.Path], gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """The mean of some frames, and the frame in the middle.

    Args:
      paths: the frames, an odd number of them.
      gamma: exponent that turns stored values into light before they are averaged; 1 averages
        stored values, as GoPro's `blur` does, 2.2 gives its `blur_gamma`.

    Returns:
      uint8 [H, W, 3] twice.

    Raises:
      DataError: if a frame cannot be read, or differs from the others in size.
    """
    middle = read_rgb(paths[len(paths) // 2])
    total = np.zeros(middle.shape, np.float64)
    for path in paths:
        frame = read_rgb(path)
        if frame.shape != middle.shape:
            raise DataError(
                f"{path}: {frame.shape[1]}x{frame.shape[0]} pixels, but the frame in the middle "
                f"has {middle.shape[1]}x{middle.shape[0]}"
            )
        total += (frame / 255.0) ** gamma
    mean = 255.0 * (total / len(paths)) ** (1.0 / gamma)
    return np.round(mean).astype(np.uint8), middle
