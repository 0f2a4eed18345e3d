"""Contact sheets: rows and columns of pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

BAR, GAP, SIDE = 18, 2, 256  # pixels: height of titles, gap, longest side of a picture
MIN_COLUMN = 96  # pixels that a title needs


def fitted(pixels: np.ndarray, side: int = SIDE) -> Image.Image:
    """An image made to fit into `side` pixels."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image


def picture_sheet(
    rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str] = (), side: int = SIDE
) -> Image.Image:
    """Rows of images, each fitted into `side` pixels, under column titles if there are any."""
    cells = [[fitted(pixels, side) for pixels in row] for row in rows]
    width = max(MIN_COLUMN, *(image.width for row in cells for image in row)) + GAP
    heights = [max(image.height for image in row) + GAP for row in cells]
    columns = max(len(row) for row in cells)
    sheet = Image.new("RGB", (width * columns, sum(heights)), "white")
    top = 0
    for row, height in zip(cells, heights, strict=True):
        for i, image in enumerate(row):
            sheet.paste(image, (width * i, top))
        top += height
    return titled(sheet, titles)


def stacked(strips: Sequence[Image.Image], columns: int) -> Image.Image:
    """Sheets of one row each, below each other with their columns aligned."""
    width = max(strip.width // columns for strip in strips)
    whole = Image.new("RGB", (width * columns, sum(strip.height for strip in strips)), "white")
    top = 0
    for strip in strips:
        own = strip.width // columns
        for i in range(columns):
            whole.paste(strip.crop((own * i, 0, own * (i + 1), strip.height)), (width * i, top))
        top += strip.height
    return whole


def titled(sheet: Image.Image, titles: Sequence[str]) -> Image.Image:
    """A sheet with titles above its columns."""
    if not titles:
        return sheet
    whole = Image.new("RGB", (sheet.width, BAR + sheet.height), "white")
    whole.paste(sheet, (0, BAR))
    draw = ImageDraw.Draw(whole)
    for i, title in enumerate(titles):
        draw.text((sheet.width // len(titles) * i + 4, 3), title, fill="black")
    return whole
