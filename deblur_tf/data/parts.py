"""Splits images into those for training and those held out for validation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

Part = Literal["all", "train", "held_out"]
PARTS = ("all", "train", "held_out")
SHARE = 0.05  # share of the images that is held out


def spread(count: int, part: Part) -> list[int]:
    """Indices of the images of a part; held-out images are spread evenly.

    Fewer than two images cannot be split: then both parts hold all images.

    Raises:
      ValueError: if there is no such part.
    """
    check(part)
    every = list(range(count))
    if part == "all" or count < 2:
        return every
    held = max(round(SHARE * count), 1)
    chosen = {(2 * i + 1) * count // (2 * held) for i in range(held)}
    return [i for i in every if (i in chosen) == (part == "held_out")]


def by_scene(count: int, scene: Callable[[int], str], part: Part) -> range:
    """Indices of the images of a part, if the images are ordered by scene.

    The last scenes are held out as a whole, since frames of one scene look alike; if there is
    only one scene, its last images are held out.

    Args:
      count: number of all images.
      scene: returns the scene of an image; called for few images only.
      part: as for `spread`.
    """
    check(part)
    if part == "all" or count < 2:
        return range(count)
    boundary = count - max(round(SHARE * count), 1)
    wanted = scene(boundary)
    low, high = 0, boundary
    while low < high:  # the first image of that scene
        middle = (low + high) // 2
        low, high = (low, middle) if scene(middle) == wanted else (middle + 1, high)
    boundary = low or boundary
    return range(boundary, count) if part == "held_out" else range(boundary)


def check(part: str) -> None:
    """Raises ValueError if there is no such part."""
    if part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}, got {part!r}")


def word(part: Part, total: int) -> str:
    """How a description names the part of so many images; see `spread` on fewer than two."""
    if part == "all" or total >= 2:
        return " held out of training" if part == "held_out" else ""
    return " (the only one there is serves training and validation)"
