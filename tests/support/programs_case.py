"""The programs, and a photo for them."""

import numpy as np
from PIL import Image

PROGRAMS = ("train", "restore", "export", "summary", "evaluate", "demo", "data", "configs", "runs")


def photo(path, seed=0, size=(24, 20)):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)
