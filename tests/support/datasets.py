"""Small data sets in the layouts of the real ones."""

import pathlib

import numpy as np
from PIL import Image

from deblur_tf.datasets import pair_builder
from tests.support import programs

DUMMY = pathlib.Path(pair_builder.__file__).parent


def save(path, seed=0, size=(20, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def run(*arguments):
    return programs.run("data", *arguments)


def dummy(name):
    return DUMMY / name / "dummy_data"
