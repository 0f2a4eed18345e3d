"""Kinds of pictures that plain decoding would damage: 16 bits, extra channels, other colours."""

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from deblur_tf.image_files.reading import read_photo
from deblur_tf.inference import pictures


def values(seed, *shape):
    return np.random.default_rng(seed).integers(0, 65536, shape, dtype=np.uint16)


@pytest.mark.parametrize("largest", [65535, 1023])
def test_colour_ppm_keeps_16_bits(largest, tmp_path):
    stored = values(0, 5, 7, 3) & largest
    path = tmp_path / "a.ppm"
    path.write_bytes(b"P6\n7 5\n%d\n" % largest + stored.astype(">u2").tobytes())
    photo = read_photo(path)
    assert photo.pixels.dtype == np.uint16
    np.testing.assert_array_equal(photo.pixels, np.round(stored / largest * 65535.0))
    path.write_bytes(b"P6\n7 5\n255\n" + bytes(range(105)))
    np.testing.assert_array_equal(read_photo(path).pixels.ravel(), range(105))


def test_colours_are_what_they_were_before_alpha(tmp_path):
    """As Pillow has it for TIFF of 8 bits."""
    colour, alpha = values(0, 6, 8, 3), values(1, 6, 8, 1) // 2 + 20000
    multiplied = np.round(colour * (alpha / 65535.0)).astype(np.uint16)
    path = tmp_path / "a.tif"
    rounded = 0.51 * 65535 / alpha.min() + 0.5  # by half a step of what was multiplied, and again
    for kind, stored, off in (("assocalpha", multiplied, rounded), ("unassalpha", colour, 0)):
        whole = np.concatenate([stored, alpha], axis=2)
        tifffile.imwrite(path, whole, photometric="rgb", extrasamples=[kind])
        photo = read_photo(path)
        np.testing.assert_array_equal(photo.alpha, alpha[..., 0])
        assert np.abs(photo.pixels.astype(int) - colour).max() <= off
        assert photo.notes == ()
    whole[..., 3] = 0
    tifffile.imwrite(path, whole, photometric="rgb", extrasamples=["unspecified"])
    photo = read_photo(path)
    assert photo.alpha is None
    np.testing.assert_array_equal(photo.pixels, colour)
    assert any("extra channel" in note for note in photo.notes)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pil_images_without_a_range_are_refused(mode):
    with pytest.raises(ValueError, match=f"got a PIL image of mode {mode}"):
        pictures.take(Image.new(mode, (8, 8)))


def test_cmyk_in_memory_is_as_cmyk_in_a_file(tmp_path):
    image = Image.merge("CMYK", [Image.fromarray(np.uint8(values(i, 9, 9) >> 8)) for i in range(4)])
    image.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.save(tmp_path / "a.tif", icc_profile=image.info["icc_profile"])
    taken = pictures.take(image)
    np.testing.assert_array_equal(taken.pixels[0], read_photo(tmp_path / "a.tif").pixels)
    result = taken.give_back(pictures.pixels_to_model_range(taken.pixels))
    assert result.mode == "RGB"
    assert "icc_profile" not in result.info  # of four colours, or damaged
    assert "icc_profile" in image.info
