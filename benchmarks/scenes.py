"""Generated pictures of kinds that photographs of a test set lack: lights, text, drawings."""

from __future__ import annotations

import string
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from deblur_tf.data import blur, camera, sensor

Picture = np.ndarray  # float32 [H, W, 3] from 0 to 255; lights exceed 255


def _words(rng: np.random.Generator, count: int) -> str:
    letters = list(string.ascii_letters + string.digits)
    return " ".join("".join(rng.choice(letters, rng.integers(2, 10))) for _ in range(count))


def text(side: int, rng: np.random.Generator, photo: Picture) -> Picture:
    """A page: lines of one size, dark on light or light on dark."""
    del photo
    dark, light = rng.uniform(0, 60, 3), rng.uniform(190, 255, 3)
    ink, paper = (dark, light) if rng.uniform() < 0.7 else (light, dark)
    page = Image.new("RGB", (side, side), tuple(int(v) for v in paper))
    size = int(rng.integers(11, 40))
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size)
    for top in range(8, side, int(1.4 * size)):
        draw.text((8, top), _words(rng, 20), tuple(int(v) for v in ink), font)
    return np.asarray(page, np.float32)


def screenshot(side: int, rng: np.random.Generator, photo: Picture) -> Picture:
    """Panels, lines of text and a small photograph on a plain ground."""
    page = Image.new("RGB", (side, side), tuple(int(v) for v in rng.uniform(225, 255, 3)))
    draw = ImageDraw.Draw(page)
    for _ in range(6):
        left, top = rng.integers(0, side - 60, 2)
        box = (left, top, left + rng.integers(40, 220), top + rng.integers(16, 90))
        draw.rectangle([int(v) for v in box], tuple(int(v) for v in rng.uniform(60, 250, 3)))
    for _ in range(14):
        place = tuple(int(v) for v in rng.integers(0, side - 40, 2))
        font = ImageFont.load_default(int(rng.integers(10, 20)))
        draw.text(place, _words(rng, 5), (20, 20, 30), font)
    inset = Image.fromarray(np.uint8(photo[:160, :200]))
    page.paste(inset, tuple(int(v) for v in rng.integers(0, side - 200, 2)))
    return np.asarray(page, np.float32)


def line_art(side: int, rng: np.random.Generator, photo: Picture) -> Picture:
    """Curves of one width, dark on white."""
    del photo
    page = Image.new("L", (2 * side, 2 * side), 250)
    draw = ImageDraw.Draw(page)
    width = int(rng.integers(2, 7))
    for _ in range(40):
        steps = np.cumsum(rng.normal(0, 1, (60, 2)).cumsum(0) * 0.9, axis=0)
        points = steps + rng.uniform(0, 2 * side, 2)
        draw.line([tuple(p) for p in points], 20, width, "curve")
    small = page.resize((side, side), Image.Resampling.BOX)
    return np.repeat(np.asarray(small, np.float32)[..., None], 3, axis=-1)


def night(side: int, rng: np.random.Generator, photo: Picture) -> Picture:
    """A dark photograph with small lights, brighter than a picture can store."""
    scene = 0.12 * photo[:side, :side]
    rows, columns = np.mgrid[:side, :side]
    coloured, brightest = rng.uniform() < 0.5, rng.uniform(3.0, 12.0)
    for _ in range(int(rng.integers(10, 70) * (side / 512) ** rng.uniform(0, 2))):
        row, column = rng.uniform(0, side, 2)
        radius = rng.uniform(1.0, 5.0)
        disc = np.clip(radius + 0.5 - np.hypot(rows - row, columns - column), 0, 1)[..., None]
        tint = rng.uniform(0.5, 1.0, 3) if coloured else rng.uniform(0.9, 1.0, 3)
        colour = tint * 255 * rng.uniform(2.0, brightest)
        scene = scene * (1 - disc) + disc * colour
    return scene.astype(np.float32)


SCENES: dict[str, Callable[[int, np.random.Generator, Picture], Picture]] = {
    "text": text,
    "screenshot": screenshot,
    "line art": line_art,
    "night lights": night,
}


def stored(picture: Picture) -> np.ndarray:
    """What a file holds: uint8."""
    return np.round(np.clip(picture, 0, 255)).astype(np.uint8)


def shaken(picture: Picture, extent: float, rng: np.random.Generator) -> np.ndarray:
    """A picture under a shake of some pixels, with little noise; 15 pixels less on each side."""
    path = blur.shake_trajectory(rng, exponent=rng.uniform(*blur.EXPONENTS))
    blurry = blur.convolve(picture, blur.rasterize(extent * path))
    return stored(blurry + rng.normal(0, 1.0, blurry.shape))


def moving(background: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A sharp photograph in which an object from another one, a third of it, has moved."""
    side = background.shape[0]
    mask = camera.random_mask(rng, (side, side), 0.3)[..., None]
    kernel = blur.rasterize(25.0 * blur.shake_trajectory(rng, exponent=1.8))
    covered = blur.convolve(np.concatenate([other * mask, 255 * mask], -1), kernel)
    margin = blur.MARGIN
    inner = background[margin:-margin, margin:-margin].astype(np.float32)
    alpha = covered[..., 3:] / 255.0
    return sensor.quantized((inner * (1 - alpha) + covered[..., :3]) / 255.0)
