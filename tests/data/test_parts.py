"""What is held out of training."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deblur_tf.data import parts
from deblur_tf.data.pairs import PairGenerator
from deblur_tf.data.photos import open_photos


@given(st.integers(2, 500))
def test_the_parts_are_the_whole(count):
    train, held = (parts.spread(count, part) for part in ("train", "held_out"))
    assert sorted([*train, *held]) == parts.spread(count, "all") == list(range(count))
    assert len(held) == max(round(0.05 * count), 1)
    assert train


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12))
def test_scenes_are_held_out_whole(lengths):
    scenes = [f"scene {i:02d}" for i, n in enumerate(lengths) for _ in range(n)]
    count = len(scenes)
    train, held = (parts.by_scene(count, scenes.__getitem__, p) for p in ("train", "held_out"))
    if count < 2:
        assert train == held == range(count)
        return
    assert [*train, *held] == list(range(count))
    assert train
    assert held
    if len(lengths) > 1 and held.start > lengths[0]:
        assert not {scenes[i] for i in train} & {scenes[i] for i in held}


def test_few_scenes_are_looked_at():
    """An example's name costs reading it."""
    asked = []
    held = parts.by_scene(2000, lambda i: asked.append(i) or str(i // 100), "held_out")
    assert held == range(1900, 2000)
    assert len(asked) < 15


def test_training_and_validation_see_other_photos():
    everything = open_photos(None).paths
    train, held = (PairGenerator(crop_size=16, part=part) for part in ("train", "held_out"))
    assert {*train.photos.paths, *held.photos.paths} == set(everything)
    assert not set(train.photos.paths) & set(held.photos.paths)
    assert "held out" in held.describe()
    with pytest.raises(ValueError, match="part must be one of all, train, held_out"):
        PairGenerator(part="test")


def test_photos_also_in_smaller_sizes():
    photos = open_photos(None, reductions=(1, 2))
    assert len(photos) == 2 * len(photos.paths)
    whole, half = photos[0].astype(float), photos[len(photos.paths)]
    want = whole.reshape(half.shape[0], 2, half.shape[1], 2, 3).mean((1, 3))
    assert np.abs(half - want).max() <= 1
    for bad in ((), (0,), (1.5,)):
        with pytest.raises(ValueError, match="reductions must be whole numbers"):
            open_photos(None, reductions=bad)


def test_one_photo_for_both_parts_is_said(tmp_path):
    from PIL import Image

    Image.new("RGB", (64, 64)).save(tmp_path / "only.png")
    texts = [PairGenerator(tmp_path, 32, part=part).describe() for part in ("train", "held_out")]
    for text in texts:
        assert "the only one there is serves training and validation" in text
        assert "held out" not in text
