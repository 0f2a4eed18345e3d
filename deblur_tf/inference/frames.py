"""Frames around photographs: video bars, borders of scans and instant photos, screenshots.

The straight edges of a frame outweigh the picture in any statistics of blur, and a frame is not
blurred. So it is cut off, and what is inside restored alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

# Levels, of 255, by which pixels of a frame may differ from each other: JPEG's ringing.
TOLERANCE = 16.0
# Share of the pixels of a row that may differ by more: rounded corners, a mark or a date.
EXCEPTIONS = 0.04
# The inner edge of a frame is a step of more levels than this, in at least this share of its
# length, within the side of a block of JPEG.
STEP, STEP_SHARE, BLOCK = 24.0, 0.4, 8
# Pixels that a frame is wide at least, and the largest share of a side that it may take.
LEAST, MOST = 3, 0.45


def inner(image: np.ndarray) -> tuple[slice, slice] | None:
    """Where the picture inside a frame is; None if there is no frame.

    Args:
      image: float32 [H, W, 3] in [-1, 1].

    Returns:
      Rows and columns without the frame on any of the four sides that has one.
    """
    levels = 127.5 * image
    rows = _without(levels)
    columns = _without(np.swapaxes(levels[rows], 0, 1))
    if columns != slice(0, image.shape[1]):  # bars at the sides hid those above and below
        rows = _without(levels[:, columns])
    whole = rows == slice(0, image.shape[0]) and columns == slice(0, image.shape[1])
    return None if whole else (rows, columns)


def _without(levels: np.ndarray) -> slice:
    """The rows that do not belong to a frame above or below: [H, W, 3] -> rows."""
    height = len(levels)
    return slice(_width(levels), height - _width(levels[::-1]))


def _width(levels: np.ndarray) -> int:
    """How many of the first rows are of one colour, and end in a step; 0 if there are none."""
    height = len(levels)
    colour = np.median(levels[0], axis=0)
    most = int(MOST * height)
    count = 0
    while count < most:
        off = np.abs(levels[count] - colour).max(axis=-1) > TOLERANCE
        if off.mean() > EXCEPTIONS:
            break
        count += 1
    if not LEAST <= count < most:
        return 0
    edge = levels[count - 1 : count + BLOCK]  # a gradient has no step within three rows
    step = np.abs(edge[3:] - edge[:-3]).max(axis=-1) > STEP
    return count if len(step) and step.mean(axis=1).max() >= STEP_SHARE else 0


def put_back(
    images: np.ndarray,
    inside: Sequence[tuple[slice, slice] | None],
    draw: Callable[[int, tuple[slice, slice]], np.ndarray],
) -> np.ndarray:
    """Samples of what is inside the frames of images, with the frames around them.

    Args:
      images: float32 [B, H, W, 3].
      inside: from `inner`, for each.
      draw: from the number of an image and a window of it to samples, [N, 1, h, w, 3].

    Returns:
      float32 [N, B, H, W, 3].
    """
    columns = []
    for i, where in enumerate(inside):
        window = where or (slice(None), slice(None))
        drawn = draw(i, window)[:, 0]
        whole = np.repeat(images[None, i], len(drawn), axis=0)
        whole[:, *window] = drawn
        columns.append(whole)
    return np.stack(columns, axis=1)
