"""Fixtures of tests of restoring photographs."""

import numpy as np
import pytest
from PIL import Image

from deblur_tf.inference.deblurrer import Deblurrer


@pytest.fixture(scope="module")
def deblurrer(model):
    return Deblurrer(model)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    for name in ("a.png", "b.jpg", "sub/a.png"):
        pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / name)
    return tmp_path
