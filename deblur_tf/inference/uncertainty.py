"""Uncertainty maps: where samples differ, the model is guessing."""

from __future__ import annotations

import dataclasses
import os

import numpy as np

from deblur_tf.base.files import replacing

# Standard deviations on a scale of 255: above `GUESSED` a pixel counts as guessed; the colour
# scale of the map ends at `SCALE_END`.
GUESSED, SCALE_END = 8.0, 32.0
# Share of guessed pixels from which the message mentions them.
WORTH_A_WORD = 0.05


def spread_of(samples: np.ndarray) -> np.ndarray:
    """Standard deviation of each pixel over samples, as root mean square over channels.

    float32 [N, H, W, 3] in [-1, 1] -> float32 [H, W], in units of 1 / 255 of the range.
    """
    variance = samples.var(axis=0, ddof=1).mean(axis=-1)
    return (127.5 * np.sqrt(variance)).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Spread:
    """How much the samples of one picture differ.

    Attributes:
      median: median over pixels of the standard deviation, on a scale of 255.
      guessed: share of pixels with a standard deviation above `GUESSED`.
    """

    median: float
    guessed: float

    def __str__(self) -> str:
        text = f"samples differ by {self.median:.1f} of 255 (median)"
        if self.guessed >= WORTH_A_WORD:
            text += (
                f"; in {self.guessed:.0%} of the picture by more than {GUESSED:g}: there, "
                "details are guesses"
            )
        return text


def summary(spread: np.ndarray) -> Spread:
    """Summary of a map, float32 [H, W], from `spread_of`."""
    return Spread(float(np.median(spread)), float((spread > GUESSED).mean()))


def write_picture(path: str | os.PathLike[str], spread: np.ndarray) -> None:
    """Writes a PNG of the spread, dark to bright, with a scale below it.

    The map has exactly the size of the picture and begins at the top left, so that it
    can be laid over it; the scale, in units of 255, adds height.
    """
    from matplotlib import colormaps
    from PIL import Image, ImageDraw

    colours = colormaps["inferno"]

    def paint(values: np.ndarray) -> np.ndarray:
        return np.round(255 * colours(np.clip(values / SCALE_END, 0, 1))[..., :3]).astype(np.uint8)

    height, width = spread.shape
    bar = Image.new("RGB", (width, 36), "black")
    ramp = np.tile(np.linspace(0.0, SCALE_END, width, dtype=np.float32), (14, 1))
    bar.paste(Image.fromarray(paint(ramp)), (0, 4))
    draw = ImageDraw.Draw(bar)
    for value in (0, 8, 16, 24, 32):
        text = f"{value}+" if value == SCALE_END else str(value)
        length = draw.textlength(text)
        x = min(max(value / SCALE_END * width - length / 2, 0), width - length)
        draw.text((x, 20), text, fill="white")
    picture = Image.new("RGB", (width, height + bar.height))
    rows = max((1 << 22) // width, 1)  # the colours of a strip take 32 bytes per pixel
    for top in range(0, height, rows):
        picture.paste(Image.fromarray(paint(spread[top : top + rows])), (0, top))
    picture.paste(bar, (0, height))
    with replacing(path) as file:
        picture.save(file, "PNG")
