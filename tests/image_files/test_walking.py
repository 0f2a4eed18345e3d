"""Folders are walked through, links included, and names are what a reader sees."""

import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

from deblur_tf.data.folders import find_pairs
from deblur_tf.data.photos import list_images
from deblur_tf.evaluation import results
from deblur_tf.image_files import listing


def photo(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)


@pytest.fixture
def linked(tmp_path):
    """Pairs whose two folders are links, beside a link that leads back up."""
    for side in ("blur", "sharp"):
        photo(tmp_path / "disk" / side / "a.png")
        (tmp_path / "mine").mkdir(exist_ok=True)
        (tmp_path / "mine" / side).symlink_to(tmp_path / "disk" / side)
    (tmp_path / "mine" / "loop").symlink_to(tmp_path / "mine")
    return tmp_path / "mine"


def test_linked_folders_are_followed_once(linked):
    both = ["blur/a.png", "sharp/a.png"]
    assert [str(p.relative_to(linked)) for p in list_images(linked)] == [
        "blur/a.png",
        "sharp/a.png",
    ]
    assert [pair.id for pair in find_pairs(linked)] == ["a"]
    found = listing.search([str(linked)], True, linked / "out")
    assert [str(s.relative) for s in found.sources] == both
    assert [str(p.name) for p in results.find(linked / "blur", set()).values()] == ["a.png"]


def test_one_word_in_two_forms_of_unicode_is_one_name(tmp_path):
    """macOS once decomposed accents, and archives from there still do."""
    word = "\u00e9t\u00e9"
    composed, decomposed = (unicodedata.normalize(form, word) for form in ("NFC", "NFD"))
    assert composed != decomposed
    photo(tmp_path / "blur" / f"{composed}.png")
    photo(tmp_path / "sharp" / f"{decomposed}.png")
    (pair,) = find_pairs(tmp_path)
    assert os.path.basename(pair.sharp) == f"{decomposed}.png"
    names = [set(results.find(tmp_path / side, set())) for side in ("blur", "sharp")]
    assert names[0] == names[1] == {composed}
