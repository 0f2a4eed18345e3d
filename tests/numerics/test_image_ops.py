import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from deblur_tf.numerics import image_ops
from tests.support.helpers import images


def test_uint8_round_trip_is_exact():
    values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    floats = image_ops.to_model_range(values)
    assert float(ops.min(floats)) == -1.0
    assert float(ops.max(floats)) == 1.0
    np.testing.assert_array_equal(image_ops.to_uint8(floats), values)


def test_to_uint8_clips_and_rounds_to_nearest():
    floats = np.array([-7.0, -1.0, 0.6 / 127.5 - 1.0, 1.0, 7.0], "float32")
    np.testing.assert_array_equal(image_ops.to_uint8(floats), [0, 0, 1, 255, 255])


def test_gray_of_gray_is_itself_and_weights_are_bt601():
    gray = images(0, 1, 4, 5, 1)
    rgb = np.repeat(gray, 3, -1)
    np.testing.assert_allclose(image_ops.rgb_to_gray(rgb), gray, atol=1e-6)
    red = np.array([[[[1.0, 0.0, 0.0]]]], "float32")
    assert float(image_ops.rgb_to_gray(red)[0, 0, 0, 0]) == pytest.approx(0.299)


@pytest.mark.parametrize("block", [1, 2, 4])
def test_patches_round_trip_and_hold_the_pixels_of_their_square(block):
    x = images(1, 2, 8, 12, 3)
    patches = np.array(image_ops.space_to_depth(x, block))
    assert patches.shape == (2, 8 // block, 12 // block, 3 * block * block)
    np.testing.assert_array_equal(image_ops.depth_to_space(patches, block), x)
    square = x[1, block : 2 * block, :block]
    np.testing.assert_array_equal(patches[1, 1, 0], square.reshape(-1))


def test_patches_of_an_unknown_size():
    import tensorflow as tf

    x = images(1, 2, 8, 12, 3)
    both = tf.function(
        lambda t: image_ops.depth_to_space(image_ops.space_to_depth(t, 2), 2),
        input_signature=[tf.TensorSpec([None, None, None, 3])],
    )
    np.testing.assert_array_equal(both(x), x)


def test_bands_are_differences_of_box_means():
    x = images(2, 1, 12, 9, 3)
    bands = [np.array(b) for b in image_ops.bands(x, (3, 5))]
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), constant_values=np.nan)
    means = [x]
    for size in (3, 5):
        edge = 2 - size // 2
        views = [
            padded[:, edge + i : edge + i + 12, edge + j : edge + j + 9]
            for i in range(size)
            for j in range(size)
        ]
        means.append(np.nanmean(views, axis=0))  # of the pixels that exist
    np.testing.assert_allclose(bands[0], means[0] - means[1], atol=1e-5)
    np.testing.assert_allclose(bands[1], means[1] - means[2], atol=1e-5)
    np.testing.assert_allclose(bands[0] + bands[1] + means[2], x, atol=1e-5)
    for sizes in ((2,), (5, 3), (1, 3)):
        with pytest.raises(ValueError, match="increasing odd numbers"):
            image_ops.check_box_sizes(sizes)


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_downsample_is_the_block_mean(factor):
    x = images(1, 2, 16, 24, 3)
    want = x.reshape(2, 16 // factor, factor, 24 // factor, factor, 3).mean((2, 4))
    np.testing.assert_allclose(image_ops.downsample(x, factor), want, atol=1e-6)


def test_upsample_repeats_and_downsample_undoes_it():
    x = images(2, 2, 3, 5, 4)
    up = image_ops.upsample_nearest(x, 2)
    np.testing.assert_array_equal(up, x.repeat(2, 1).repeat(2, 2))
    np.testing.assert_allclose(image_ops.downsample(up, 2), x, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), multiple=st.sampled_from([1, 2, 8, 16]))
def test_pad_then_crop_is_the_identity(height, width, multiple):
    x = images(3, 1, height, width, 2)
    padded = image_ops.pad_to_multiple(x, multiple)
    assert padded.shape[1] % multiple == 0
    assert padded.shape[2] % multiple == 0
    assert padded.shape[1] - height < multiple
    np.testing.assert_array_equal(image_ops.crop(padded, height, width), x)


def test_padding_reflects_like_numpy_where_numpy_can():
    x = images(4, 1, 13, 11, 3)
    want = np.pad(x, ((0, 0), (0, 3), (0, 5), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(image_ops.pad_to_multiple(x, 8 * 2), want)


def test_padding_longer_than_the_image_reflects_repeatedly():
    x = np.arange(3, dtype="float32").reshape(1, 3, 1, 1)
    padded = np.array(image_ops.pad_to_multiple(x, 8))
    np.testing.assert_array_equal(padded[0, :, 0, 0], [0, 1, 2, 1, 0, 1, 2, 1])


def test_padding_does_nothing_to_a_multiple():
    x = ops.convert_to_tensor(images(5, 1, 16, 8, 3))
    assert image_ops.pad_to_multiple(x, 8) is x


def test_gray_images_stay_gray_and_others_stay_as_they_are():
    image = images(0, 2, 5, 6, 3)
    reference = images(1, 2, 5, 6, 3)
    reference[0] = reference[0, ..., :1]
    found = np.array(image_ops.gray_where_gray(image, reference))
    want = image[0] @ np.array([0.299, 0.587, 0.114], "float32")
    np.testing.assert_allclose(found[0], np.repeat(want[..., None], 3, -1), atol=1e-5)
    np.testing.assert_array_equal(found[1], image[1])
