"""Frames around photographs are found, and what only looks like one is not."""

import io

import numpy as np
import pytest
from PIL import Image

from deblur_tf.inference import frames
from deblur_tf.inference.deblurrer import Deblurrer
from tests.support.helpers import natural


def framed(photo, colour=1.0, top=9, bottom=9, left=9, right=9):
    pads = ((top, bottom), (left, right), (0, 0))
    return np.pad(photo, pads, constant_values=colour)


@pytest.mark.parametrize("colour", [-1.0, 1.0, 0.2])
@pytest.mark.parametrize(
    ("top", "bottom", "left", "right"), [(8, 8, 0, 0), (0, 0, 12, 7), (5, 30, 5, 5), (0, 4, 0, 0)]
)
def test_bars_and_frames_are_found(colour, top, bottom, left, right):
    image = framed(0.6 * natural(0, 80, 100) - 0.15, colour, top, bottom, left, right)
    rows, columns = frames.inner(image)
    assert (rows.start, rows.stop) == (top, top + 80)
    assert (columns.start, columns.stop) == (left, left + 100)


def test_rounded_corners_and_jpeg_change_little():
    image = framed(0.5 * natural(1, 90, 110), top=12, bottom=12, left=12, right=12)
    rows, columns = np.ogrid[: image.shape[0], : image.shape[1]]
    corner = (rows < 18) & (columns < 18) & (np.hypot(rows - 18, columns - 18) > 6)
    image[corner] = 1.0
    file = io.BytesIO()
    Image.fromarray(np.uint8(127.5 * (image + 1))).save(file, "jpeg", quality=90)
    noisy = np.asarray(Image.open(file), np.float32) / 127.5 - 1
    rows, columns = frames.inner(noisy)
    for found, want in ((rows, (12, 102)), (columns, (12, 122))):
        assert abs(found.start - want[0]) <= 3
        assert abs(found.stop - want[1]) <= 3


@pytest.mark.parametrize(
    "image",
    [
        natural(2, 60, 60),
        np.zeros((60, 60, 3), np.float32),
        np.linspace(-1, 1, 60, dtype="f")[:, None, None] * np.ones((1, 60, 3), "f"),
        np.pad(natural(3, 60, 60), ((1, 1), (1, 1), (0, 0)), constant_values=1.0),
        np.full((1, 1, 3), 0.5, np.float32),
        np.full((2, 300, 3), 0.5, np.float32),
    ],
    ids=["photo", "plain", "sky", "one pixel", "1x1", "2x300"],
)
def test_what_is_no_frame_is_left_in(image):
    assert frames.inner(image) is None


def test_a_frame_stays_and_what_is_inside_is_restored_as_if_there_were_none(micro):
    photo = np.uint8(127.5 * (0.5 * natural(4, 64, 80) + 1))
    whole = np.pad(photo, ((8, 8), (8, 8), (0, 0)), constant_values=255)
    deblurrer = Deblurrer(micro)
    alone = deblurrer.restore(photo, steps=2, always=True)
    found = deblurrer.restore(np.stack([whole, whole]), steps=2, always=True)
    for picture in found:
        np.testing.assert_array_equal(picture[8:-8, 8:-8], alone)
        picture = picture.copy()
        picture[8:-8, 8:-8] = 255
        assert (picture == 255).all()
