"""Pairs that the tests of evaluation share."""

import pytest
from PIL import Image

from tests.support.evaluations import SCENES, noisy


@pytest.fixture(scope="module")
def tree(tmp_path_factory, photos):
    """GoPro's layout with three scenes, and a flat folder of results."""
    root = tmp_path_factory.mktemp("tree")
    for i in range(3):
        sharp = photos[i % len(photos)][:100, :120]
        for side, image in (("sharp", sharp), ("blur", noisy(sharp, i, 20))):
            path = root / "test" / SCENES[i] / side / "000001.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(image).save(path)
        path = root / "theirs" / f"{SCENES[i]}-000001.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(noisy(sharp, 9 + i)).save(path)
    return root
