import itertools

import numpy as np
import pytest
from PIL import Image

from deblur_tf.data import pairs, photos, pipeline


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
        crop = pairs.random_dihedral(pairs.random_crop(photo, 10, 5, rng), rng)[5:-5, 5:-5]
        found = [n for n, p in enumerate(patches) if np.ascontiguousarray(crop).tobytes() in p]
        assert len(found) == 1
        seen.update(found)
    assert seen == set(range(8))


def test_small_photos_are_extended_by_reflection():
    photo = np.arange(5 * 6 * 3, dtype=np.uint8).reshape(5, 6, 3)
    crop = pairs.random_crop(photo, 8, 3, np.random.default_rng(0))
    assert crop.shape == (14, 14, 3)
    assert set(crop.ravel()) <= set(photo.ravel())


def test_numpy_batches_resume_in_order(make_pair):
    stream = pairs.batches(make_pair, 3, first_step=2)
    for step, (blurry, sharp) in zip((2, 3, 4), stream, strict=False):
        want = pairs.batch_of(make_pair, step, 3)
        np.testing.assert_array_equal(blurry, want[0])
        np.testing.assert_array_equal(sharp, want[1])
        np.testing.assert_array_equal(sharp[1], make_pair(step * 3 + 1)[1])
    stream.close()


def test_tf_data_gives_the_same_batches(make_pair):
    dataset = pipeline.pair_dataset(make_pair, 3, first_step=2)
    assert dataset.element_spec["blurry"].shape == (3, 32, 32, 3)
    for step, batch in zip((2, 3), itertools.islice(dataset, 2), strict=True):
        want = pairs.batch_of(make_pair, step, 3)
        np.testing.assert_array_equal(batch["blurry"], want[0])
        np.testing.assert_array_equal(batch["sharp"], want[1])
        np.testing.assert_array_equal(batch["item"], [0, 1, 2])


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


def test_the_cache_has_a_limit(tmp_path):
    for name in "ab":
        Image.fromarray(np.zeros((10, 10, 3), np.uint8)).save(tmp_path / f"{name}.png")
    found = photos.PhotoSet(photos.list_images(tmp_path), cache_bytes=300)
    assert found[0] is found[0]
    assert found[1] is not found[1]


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
