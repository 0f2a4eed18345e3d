"""Sheets of pictures beside each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw


def fitted(pixels: np.ndarray, side: int) -> Image.Image:
    """An image made to fit into `side` pixels."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image


def picture_sheet(
    rows: Sequence[Sequence[np.ndarray | Image.Image]], titles: Sequence[str], side: int = 256
) -> Image.Image:
    """Rows of images under column titles, each fitted into `side` pixels."""
    bar, gap = 18, 2
    cells = [[x if isinstance(x, Image.Image) else fitted(x, side) for x in row] for row in rows]
    width = max(image.width for row in cells for image in row) + gap
    heights = [max(image.height for image in row) + gap for row in cells]
    sheet = Image.new("RGB", (width * len(titles), bar + sum(heights)), "white")
    draw = ImageDraw.Draw(sheet)
    for i, title in enumerate(titles):
        draw.text((width * i + 4, 3), title, fill="black")
    top = bar
    for row, height in zip(cells, heights, strict=True):
        for i, image in enumerate(row):
            sheet.paste(image, (width * i, top))
        top += height
    return sheet
