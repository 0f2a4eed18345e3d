import concurrent.futures
import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from deblur_tf.base.errors import DataError
from deblur_tf.data import augment, pairs, photos
from deblur_tf.data.cache import ImageCache
from deblur_tf.data.input import tensorflow as pipeline
from deblur_tf.data.input import threads
from deblur_tf.data.order import CropOrder
from deblur_tf.data.pairs import PairGenerator


@pytest.fixture(scope="module")
def make_pair():
    return pairs.PairGenerator(crop_size=32)


def test_pairs_are_pure_functions_of_their_number(make_pair):
    again = pairs.PairGenerator(crop_size=32)
    for a, b in zip(make_pair(7), again(7), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == np.uint8
        assert a.shape == (32, 32, 3)
    assert np.any(make_pair(7)[1] != make_pair(8)[1])
    assert np.any(make_pair(7)[1] != pairs.PairGenerator(crop_size=32, seed=1)(7)[1])


def test_without_degradation_both_images_are_equal():
    """Crop, flip and rotation are applied to both alike."""
    make_pair = pairs.PairGenerator(crop_size=24, max_extent=0.0, max_stddev=0.0)
    for i in range(20):
        blurry, sharp = make_pair(i)
        np.testing.assert_array_equal(blurry, sharp)


def test_crops_come_from_the_photos_in_all_orientations():
    photo = np.random.default_rng(0).integers(0, 256, (45, 40, 3), dtype=np.uint8)
    seen = set()
    views = [np.rot90(f, k) for f in (photo, photo[:, ::-1]) for k in range(4)]
    patches = [
        {
            v[y : y + 10, x : x + 10].tobytes()
            for y in range(v.shape[0] - 9)
            for x in range(v.shape[1] - 9)
        }
        for v in views
    ]
    for i in range(60):
        rng = np.random.default_rng(i)
        crop = augment.random_dihedral(augment.random_crop(photo, 10, 5, rng), rng)[5:-5, 5:-5]
        found = [n for n, p in enumerate(patches) if np.ascontiguousarray(crop).tobytes() in p]
        assert len(found) == 1
        seen.update(found)
    assert seen == set(range(8))


def test_small_photos_are_extended_by_reflection():
    photo = np.arange(5 * 6 * 3, dtype=np.uint8).reshape(5, 6, 3)
    crop = augment.random_crop(photo, 8, 3, np.random.default_rng(0))
    assert crop.shape == (14, 14, 3)
    assert set(crop.ravel()) <= set(photo.ravel())


def test_numpy_batches_resume_in_order(make_pair):
    stream = threads.batches(make_pair, 3, first_step=2)
    for step, (blurry, sharp, item) in zip((2, 3, 4), stream, strict=False):
        want = threads.batch_of(make_pair, step, 3)
        np.testing.assert_array_equal(blurry, want[0])
        np.testing.assert_array_equal(sharp, want[1])
        np.testing.assert_array_equal(item, [0, 1, 2])
        np.testing.assert_array_equal(sharp[1], make_pair(step * 3 + 1)[1])
    stream.close()


def test_batches_of_several_steps_are_the_single_ones_stacked(make_pair):
    """After a resume at an odd step, up to the next multiple, as the steppers count."""
    stream = threads.stacked(make_pair, 2, 3, lambda step: 4 - step % 4)
    for steps in ((3,), (4, 5, 6, 7)):
        found = next(stream)
        for want, *got in zip(steps, *found, strict=True):
            for a, b in zip(got, threads.batch_of(make_pair, want, 2), strict=True):
                np.testing.assert_array_equal(a, b)
    stream.close()


def test_tf_data_gives_the_same_batches(make_pair):
    dataset = pipeline.pair_dataset(make_pair, 3, first_step=2)
    assert dataset.element_spec.blurry.shape == (3, 32, 32, 3)
    for step, batch in zip((2, 3), itertools.islice(dataset, 2), strict=True):
        want = threads.batch_of(make_pair, step, 3)
        np.testing.assert_array_equal(batch.blurry, want[0])
        np.testing.assert_array_equal(batch.sharp, want[1])
        np.testing.assert_array_equal(batch.item, [0, 1, 2])


def test_a_folder_is_read_whatever_the_case_and_depth(tmp_path):
    (tmp_path / "deep").mkdir()
    image = Image.fromarray(np.full((40, 50, 3), 7, np.uint8))
    image.save(tmp_path / "B.JPG", "jpeg")
    image.save(tmp_path / "deep" / "a.png")
    (tmp_path / "notes.txt").write_text("no photo")
    found = photos.open_photos(tmp_path)
    assert [p.name for p in found.paths] == ["B.JPG", "a.png"]
    assert found[1].shape == (40, 50, 3)


def test_orientation_is_applied(tmp_path):
    image = Image.fromarray(np.zeros((20, 30, 3), np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif.tobytes())
    assert photos.read_rgb(tmp_path / "a.jpg").shape == (30, 20, 3)


def test_the_cache_forgets_the_least_recently_used():
    loaded = []

    def load(key):
        loaded.append(key)
        return np.zeros(100, np.uint8)

    images = ImageCache(load, max_bytes=250)
    for key in (0, 1, 0, 2, 0, 1):
        images[key]
    assert loaded == [0, 1, 2, 1]
    huge = ImageCache(load, max_bytes=10)
    assert huge[5].shape == huge[5].shape == (100,)
    assert loaded[-2:] == [5, 5]


def test_the_cache_loads_once_for_all_threads_and_forgets_failures():
    started = []

    def load(key):
        started.append(key)
        time.sleep(0.05)
        if len(started) == 1:
            raise photos.DataError("damaged")
        return np.full(3, key)

    images = ImageCache(load, max_bytes=1000)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        failed = [f.exception() for f in [pool.submit(images.__getitem__, 7) for _ in range(8)]]
        assert all(isinstance(e, photos.DataError) for e in failed)
        found = list(pool.map(images.__getitem__, [7] * 8))
    assert started == [7, 7]
    assert all(a is found[0] for a in found)


@given(
    images=st.integers(1, 40),
    crops=st.integers(1, 6),
    block=st.integers(1, 50),
    seed=st.integers(0, 9),
)
def test_every_epoch_takes_each_image_equally_often(images, crops, block, seed):
    order = CropOrder(images, crops, block, seed)
    for epoch in range(2):
        start = epoch * order.epoch_crops
        taken = [order(start + i) for i in range(order.epoch_crops)]
        assert np.bincount(taken, minlength=images).tolist() == [crops] * images
        # At most a block of images is in use at a time.
        size = order.block_images * crops
        for first in range(0, len(taken), size):
            assert len(set(taken[first : first + size])) <= order.block_images


def test_the_order_is_shuffled_seeded_and_known_without_history():
    order = CropOrder(50, 4, 10, seed=1)
    taken = [order(i) for i in range(400)]
    assert [CropOrder(50, 4, 10, seed=1)(i) for i in (399, 0, 201)] == [
        taken[i] for i in (399, 0, 201)
    ]
    assert taken[:200] != taken[200:]
    assert taken != [CropOrder(50, 4, 10, seed=2)(i) for i in range(400)]
    repeats = np.mean(np.diff(taken) == 0)
    assert repeats < 0.2
    with pytest.raises(ValueError, match="block_images"):
        CropOrder(5, block_images=0)


def test_bad_folders_and_files_are_named(tmp_path):
    with pytest.raises(photos.DataError, match="no such folder"):
        photos.list_images(tmp_path / "missing")
    with pytest.raises(photos.DataError, match="no images"):
        photos.list_images(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(photos.DataError, match=r"broken\.png"):
        photos.open_photos(tmp_path)
    with pytest.raises(photos.DataError, match=r"broken\.png"):
        photos.read_rgb(tmp_path / "broken.png")


def test_bundled_photos_exist():
    found = photos.open_photos(None)
    assert len(found) == 5
    assert min(min(p.shape[:2]) for p in (found[i] for i in range(5))) >= 300
    assert photos.motion_blurred_photo().is_file()


def test_a_batch_of_the_papers_rows_holds_as_many_images():
    """As in uniform draws; but for the seam between two epochs."""
    order = CropOrder(2103, crops_per_image=1, block_images=1_000_000)
    for step in range(8):  # the first epoch
        assert len({order(i) for i in range(256 * step, 256 * (step + 1))}) == 256
    assert {order(i) for i in range(2103)} == set(range(2103))


def test_a_row_whose_data_is_ones_own_does_not_take_the_bundled_photos():
    with pytest.raises(DataError, match="give --photos, or PHOTOS in a gin file"):
        PairGenerator(bundled=False)
