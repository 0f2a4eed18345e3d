"""Patches of a picture, without overlap."""

from __future__ import annotations

import numpy as np

PAPER_PATCH = (240, 256)  # height, width: 15 patches per picture of 1280x720 (DvSR sec. 5.3)


def patches(image: np.ndarray, size: tuple[int, int] = PAPER_PATCH) -> np.ndarray:
    """All whole patches from the top left corner on, row by row.

    [H, W, C] -> [N, height, width, C]; what is left at the right and bottom is not used.

    Raises:
      ValueError: if the image is smaller than a patch.
    """
    (height, width), (rows, columns) = size, (image.shape[i] // size[i] for i in range(2))
    if not rows * columns:
        raise ValueError(f"no patch of {width}x{height} in {image.shape[1]}x{image.shape[0]}")
    cut = image[: rows * height, : columns * width]
    cut = cut.reshape(rows, height, columns, width, -1).swapaxes(1, 2)
    return cut.reshape(-1, height, width, image.shape[-1])
