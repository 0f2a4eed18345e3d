"""Photo files in and out: nothing is lost without a word, and nothing breaks the program."""

import io
import os
import pathlib
import struct
import tempfile

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin, features

from deblur_tf.base.errors import DataError, SaveError, UsageError
from deblur_tf.data.photos import open_photos
from deblur_tf.image_files import listing
from deblur_tf.image_files.metadata import Metadata
from deblur_tf.image_files.reading import Photo, read_photo, read_rgb, upright
from deblur_tf.image_files.writing import FORMATS, check_size, write_photo

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6">b</a></x:xmpmeta>'


def picture(height=21, width=18, channels=3, seed=0, dtype=np.uint8):
    rng = np.random.default_rng(seed)
    return rng.integers(0, np.iinfo(dtype).max + 1, (height, width, channels), dtype=dtype)


def camera_exif(orientation=6):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0110] = orientation, "Camera", "Model"
    exif[0x8769] = {0x829A: 0.008, 0x9003: "2026:11:21 12:00:00", 0x927C: b"maker" * 30}
    exif[0x8825] = {1: "N", 2: (48.0, 8.0, 0.0)}
    return exif


@pytest.fixture
def jpeg(tmp_path):
    path = tmp_path / "a.JPG"
    Image.fromarray(picture(20, 30)).save(
        path, "jpeg", exif=camera_exif(), icc_profile=SRGB, dpi=(300, 300), comment="seen",
        xmp=XMP, quality=95,
    )  # fmt: skip
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_is_pillows(orientation, tmp_path):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture(7, 5)).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        wanted = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(upright(picture(7, 5), orientation), wanted)
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png").pixels, wanted)


@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "tif", "avif", "heic"])
def test_what_a_camera_writes_survives(extension, jpeg, tmp_path):
    if extension == "heic":
        pytest.importorskip("pillow_heif")
    if extension == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    photo = read_photo(jpeg)
    assert photo.pixels.shape == (30, 20, 3)
    notes = write_photo(tmp_path / f"b.{extension}", photo.pixels, photo)
    again = read_photo(tmp_path / f"b.{extension}")
    assert again.pixels.shape == (30, 20, 3)
    assert np.abs(again.pixels.astype(int) - photo.pixels).mean() < 12
    exif = Image.Exif()
    exif.load(again.metadata.exif)
    assert exif[0x010F] == "Camera"
    assert exif.get_ifd(0x8769)[0x9003] == "2026:11:21 12:00:00"
    assert exif.get_ifd(0x8769)[0x927C].startswith(b"maker")
    assert exif.get_ifd(0x8825)[1] == "N"
    assert 0x0112 not in exif
    assert again.metadata.icc_profile == SRGB
    assert b'tiff:Orientation="1"' in again.metadata.xmp
    has_dpi = extension in ("jpg", "png", "tif")
    if has_dpi:
        assert again.metadata.dpi == pytest.approx((300, 300), abs=0.1)
    kept = {"jpg": 0, "png": 0, "webp": 2, "tif": 1, "avif": 2, "heic": 2}
    assert len(notes) == kept[extension], notes


def test_a_png_keeps_texts_gamma_and_resolution(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add(b"gAMA", struct.pack(">I", 45455))
    info.add(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))
    info.add_text("Title", "a picture")
    info.add_itxt("Author", "Zoë")
    Image.fromarray(picture()).save(tmp_path / "a.png", pnginfo=info, dpi=(72, 72))
    photo = read_photo(tmp_path / "a.png")
    assert write_photo(tmp_path / "b.png", photo.pixels, photo) == []
    assert read_photo(tmp_path / "b.png").metadata == photo.metadata
    with Image.open(tmp_path / "b.png") as image:
        assert image.info["gamma"] == pytest.approx(0.45455)
        assert image.text == {"Title": "a picture", "Author": "Zoë"}
    notes = write_photo(tmp_path / "b.jpg", photo.pixels, photo)
    assert notes == ["JPEG keeps no text", "JPEG keeps no gamma"]


@pytest.mark.parametrize(
    ("extension", "channels"),
    [*(("png", n) for n in (1, 2, 3, 4)), *(("tif", n) for n in (1, 3, 4))],
)
def test_sixteen_bits_stay(extension, channels, tmp_path):
    values = picture(9, 7, channels, dtype=np.uint16)
    path = tmp_path / f"a.{extension}"
    if extension == "png":
        path.write_bytes(imagecodecs.png_encode(values))
    else:
        tifffile.imwrite(path, values if channels > 1 else values[..., 0],
                         photometric="rgb" if channels > 2 else "minisblack",
                         planarconfig="contig" if channels > 1 else None,
                         extrasamples=["unassalpha"] if channels in (2, 4) else None)  # fmt: skip
    photo = read_photo(path)
    colours = 1 if channels < 3 else 3
    assert photo.pixels.dtype == np.uint16
    assert photo.gray == (colours == 1)
    for i in range(3):
        np.testing.assert_array_equal(photo.pixels[..., i], values[..., min(i, colours - 1)])
    assert (photo.alpha is None) == (channels in (1, 3))
    assert write_photo(tmp_path / f"b.{extension}", photo.pixels, photo) == []
    again = read_photo(tmp_path / f"b.{extension}")
    np.testing.assert_array_equal(again.pixels, photo.pixels)
    if photo.alpha is not None:
        np.testing.assert_array_equal(again.alpha, values[..., -1])
        write_photo(tmp_path / "b.tif", photo.pixels, photo)
        np.testing.assert_array_equal(read_photo(tmp_path / "b.tif").pixels, photo.pixels)
    notes = write_photo(tmp_path / "c.jpg", photo.pixels, photo)
    assert "16 bits became 8, since JPEG holds no more" in notes
    assert read_photo(tmp_path / "c.jpg").pixels.dtype == np.uint8


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_sixteen_bits_keep_their_metadata(extension, jpeg, tmp_path):
    like = read_photo(jpeg)
    deep = like.pixels.astype(np.uint16) * 257
    notes = write_photo(tmp_path / f"b.{extension}", deep, like)
    again = read_photo(tmp_path / f"b.{extension}")
    np.testing.assert_array_equal(again.pixels, deep)
    assert again.metadata.icc_profile == SRGB
    assert again.metadata.dpi == pytest.approx((300, 300), abs=0.1)
    exif = Image.Exif()
    exif.load(again.metadata.exif)
    assert exif[0x010F] == "Camera"
    if extension == "png":
        assert again.metadata.exif == like.metadata.exif
        assert again.metadata.xmp == like.metadata.xmp
    else:
        assert "of EXIF, a 16-bit TIFF keeps the main texts only" in notes


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sixteen_bits_are_turned_upright(orientation, tmp_path):
    values = picture(7, 5, dtype=np.uint16)
    tags = [(0x0112, "H", 1, orientation, True)]
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extratags=tags)
    photo = read_photo(tmp_path / "a.tif")
    np.testing.assert_array_equal(photo.pixels, upright(values, orientation))


def test_sixteen_bits_of_other_kinds(tmp_path):
    values = picture(7, 5, 1, dtype=np.uint16)[..., 0]
    tifffile.imwrite(tmp_path / "white.tif", values, photometric="miniswhite")
    np.testing.assert_array_equal(read_photo(tmp_path / "white.tif").pixels[..., 0], 65535 - values)
    tifffile.imwrite(tmp_path / "cmyk.tif", np.zeros((7, 5, 4), np.uint16), photometric="separated")
    photo = read_photo(tmp_path / "cmyk.tif")
    assert photo.pixels.min() == 255  # no ink
    assert photo.alpha is None
    assert photo.notes == ("CMYK became RGB; without a profile, colours are approximate",)
    (tmp_path / "a.pgm").write_bytes(b"P5 5 7 65535\n" + values.astype(">u2").tobytes())
    np.testing.assert_array_equal(read_photo(tmp_path / "a.pgm").pixels[..., 1], values)


def test_a_damaged_profile_costs_the_profile_alone(tmp_path):
    Image.fromarray(picture()).convert("CMYK").save(tmp_path / "a.jpg", icc_profile=b"no profile")
    photo = read_photo(tmp_path / "a.jpg")
    assert photo.notes == ("CMYK became RGB; its profile is damaged, and colours are approximate",)
    assert photo.metadata.icc_profile is None


def test_training_reads_sixteen_bits_as_eight(tmp_path):
    values = np.array([[0, 128, 257], [32896, 65407, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        read_rgb(tmp_path / "a.png")[..., 0], [[0, 0, 1], [128, 255, 255]]
    )
    assert open_photos(tmp_path)[0].max() == 255


def test_gray_alpha_and_palettes(tmp_path):
    rgba = picture(channels=4)
    Image.fromarray(rgba).save(tmp_path / "c.png")
    photo = read_photo(tmp_path / "c.png")
    write_photo(tmp_path / "d.png", photo.pixels, photo)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "d.png")), rgba)
    assert write_photo(tmp_path / "d.bmp", photo.pixels, photo) == ["BMP keeps no alpha"]

    gray = picture(channels=1)[..., 0]
    Image.fromarray(gray).save(tmp_path / "e.png")
    photo = read_photo(tmp_path / "e.png")
    write_photo(tmp_path / "f.png", photo.pixels, photo)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "f.png")), gray)

    palette = Image.fromarray(picture()).quantize(16)
    palette.save(tmp_path / "g.png", transparency=3)
    photo = read_photo(tmp_path / "g.png")
    assert set(np.unique(photo.alpha)) == {0, 255}
    np.testing.assert_array_equal(photo.pixels, np.asarray(palette.convert("RGB")))


def test_colour_spaces_become_rgb_and_say_so(tmp_path):
    Image.fromarray(picture()).convert("CMYK").save(tmp_path / "a.jpg", icc_profile=None)
    photo = read_photo(tmp_path / "a.jpg")
    assert photo.metadata.icc_profile is None
    assert photo.notes == ("CMYK became RGB; without a profile, colours are approximate",)
    lab = ImageCms.profileToProfile(
        Image.fromarray(picture(seed=3)), ImageCms.createProfile("sRGB"),
        ImageCms.createProfile("LAB"), outputMode="LAB",
    )  # fmt: skip
    lab.save(tmp_path / "b.tif")
    photo = read_photo(tmp_path / "b.tif")
    assert photo.notes == ("LAB became RGB with the profile sRGB",)
    assert "sRGB" in ImageCms.getProfileName(io.BytesIO(photo.metadata.icc_profile))


def test_of_several_pictures_the_first_is_restored_and_it_says_so(tmp_path):
    frames = [Image.fromarray(picture(seed=i)) for i in range(3)]
    for name in ("a.gif", "a.webp", "a.tif", "a.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        photo = read_photo(tmp_path / name)
        assert photo.notes == ("only the first of its 3 pictures is restored",), name


def test_broken_exif_costs_the_exif_alone(jpeg, tmp_path):
    data = jpeg.read_bytes()
    start = data.index(b"Exif\0\0") + 6
    broken = data[: start + 12] + b"\xff" * 20 + data[start + 32 :]
    (tmp_path / "b.jpg").write_bytes(broken)
    photo = read_photo(tmp_path / "b.jpg")
    for extension in ("jpg", "png", "tif", "webp"):
        write_photo(tmp_path / f"c.{extension}", photo.pixels, photo)
        assert read_photo(tmp_path / f"c.{extension}").pixels.shape == photo.pixels.shape


def test_unreadable_photos_are_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG broken")
    (tmp_path / "empty.jpg").write_bytes(b"")
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "b.tif")
    os.mkfifo(tmp_path / "pipe.png")
    # Pillow would hand PostScript to another program, whatever the file is called.
    (tmp_path / "ps.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"
    )
    for name, message in (
        ("a.png", "cannot be read as an image"),
        ("empty.jpg", "cannot be read as an image"),
        ("b.tif", "32-bit and float images"),
        ("pipe.png", "not a regular file"),
        ("ps.png", "cannot be read as an image"),
        ("missing.png", "cannot be read as an image"),
    ):
        with pytest.raises(DataError, match=f"{name}: .*{message}"):
            read_photo(tmp_path / name)


def test_a_header_that_promises_too_much_is_an_error(tmp_path):
    def chunk(kind, contents):
        import zlib

        check = struct.pack(">I", zlib.crc32(kind + contents))
        return struct.pack(">I", len(contents)) + kind + contents + check

    header = struct.pack(">2I5B", 60000, 60000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(data)
    with pytest.raises(DataError, match=r"bomb\.png: .*exceeds limit"):
        read_photo(tmp_path / "bomb.png")


def test_sizes_that_a_format_cannot_hold_are_known_beforehand(tmp_path):
    with pytest.raises(SaveError, match=r"a\.webp: WEBP holds no more than 16383"):
        check_size(tmp_path / "a.webp", (20_000, 10))
    check_size(tmp_path / "a.png", (20_000, 10))


SEEDS = {}


def encoded(name):
    """One small file of each format, in memory."""
    if not SEEDS:
        for extension, kind in FORMATS.items():
            if kind.name in ("HEIF",) or extension in (".jpe", ".jfif", ".jpeg", ".tiff"):
                continue
            photo = Photo(picture(33, 40), metadata=Metadata(exif=camera_exif().tobytes()))
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / f"a{extension}"
                write_photo(path, photo.pixels, photo)
                SEEDS[extension] = path.read_bytes()
        file = io.BytesIO()
        Image.fromarray(picture(33, 40)).save(file, "GIF")
        SEEDS[".gif"] = file.getvalue()
        SEEDS["16.png"] = bytes(imagecodecs.png_encode(picture(33, 40, dtype=np.uint16)))
    return SEEDS[name]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    name=st.sampled_from([".jpg", ".png", ".webp", ".tif", ".bmp", ".jp2", ".gif", "16.png"]),
    cut=st.floats(0, 1),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=8),
)
def test_damaged_files_are_read_or_refused(name, cut, changes, tmp_path_factory):
    """Whatever a file holds: pixels that can be written again, or one `DataError`."""
    data = bytearray(encoded(name))
    for place, value in changes:
        data[int(place * len(data))] = value
    if not changes:
        data = data[: int(cut * len(data))]
    folder = tmp_path_factory.mktemp("damaged")
    path = folder / f"a{name}"
    path.write_bytes(data)
    try:
        photo = read_photo(path)
    except DataError:
        return
    assert photo.pixels.dtype in (np.uint8, np.uint16)
    if photo.pixels.size < 1 << 20:
        write_photo(folder / "b.png", photo.pixels, photo)
        assert read_photo(folder / "b.png").pixels.shape == photo.pixels.shape


def tree(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def names(found):
    return [source.relative.as_posix() for source in found.sources]


def test_files_folders_and_patterns(tmp_path):
    root = tree(tmp_path / "in", "b.JPG", "a.png", "sub/c.heic", "notes.txt", ".d.png",
                "__MACOSX/e.png", "out/f.png")  # fmt: skip
    out = root / "out"
    found = listing.search([str(root)], True, out)
    assert names(found) == ["a.png", "b.JPG", "sub/c.heic"]
    assert [p.name for p in found.others] == ["notes.txt"]
    assert names(listing.search([str(root)], False, out)) == ["a.png", "b.JPG"]
    assert names(listing.search([f"{root}/**"], True, out)) == ["a.png", "b.JPG", "sub/c.heic"]
    assert names(listing.search([f"{root}/**"], False, out)) == ["a.png", "b.JPG", "c.heic"]
    assert names(listing.search([str(root), f"{root}/a.png"], True, out)) == [
        "a.png", "b.JPG", "sub/c.heic",
    ]  # fmt: skip
    found = listing.search([f"{root}/*"], False, out)
    assert names(found) == ["a.png", "b.JPG"]
    assert [p.name for p in found.others] == ["notes.txt"]
    found = listing.search([f"{root}/a.png", f"{root}/sub"], True, out)
    assert names(found) == ["a.png", "c.heic"]
    hidden = tree(tmp_path / ".cache", "a.png", ".b.png")
    assert names(listing.search([f"{hidden}/*.png"], True, out)) == ["a.png"]
    for path, message in (("nowhere", "no such file"), (f"{root}/notes.txt", "not a photograph")):
        with pytest.raises(UsageError, match=message):
            listing.search([path], True, out)


def test_names_that_clash_are_refused_before_any_work(tmp_path):
    root = tree(tmp_path, "a.jpg", "a_s0_0.jpg", "b.gif", "b.png")
    sources = listing.search([str(root)], True, tmp_path / "out").sources
    with pytest.raises(UsageError, match=r"b\.gif and .*b\.png would both"):
        listing.plan(sources, tmp_path / "out")
    with pytest.raises(UsageError, match=r"a\.jpg and .*a_s0_0\.jpg would both"):
        listing.plan(sources[:2], tmp_path / "out", n_samples=2)
    listing.plan(sources[:2], tmp_path / "out", n_samples=1)
    with pytest.raises(UsageError, match="would overwrite its input"):
        listing.plan(sources[:1], tmp_path)
    with pytest.raises(UsageError, match="would overwrite another input"):
        listing.plan(sources[:2], tmp_path, suffix="_s0_0")
    [task] = listing.plan(sources[2:3], tmp_path / "out", suffix="_x")
    assert task.target.name == "b_x.png"
