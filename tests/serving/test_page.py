"""The web page: what it makes, and what a browser shows."""

import threading

import numpy as np
import pytest
from PIL import Image

from deblur_tf.inference.deblurrer import Deblurrer
from tests.support.browser import page as browser
from tests.support.serving import picture


@pytest.fixture(scope="module")
def page(small):
    pytest.importorskip("gradio")
    from deblur_tf.diffusion.fidelity import curve_of
    from deblur_tf.diffusion.sampling import SamplingSettings
    from deblur_tf.serving.page import Page

    curve = curve_of(
        [{"steps": 1, "psnr": 24.0, "niqe": 8.0}, {"steps": 3, "psnr": 22.0, "niqe": 7.0}],
        "niqe", "nothing",
    )  # fmt: skip
    return Page(Deblurrer(small, "", SamplingSettings(1), curve), max_pixels=100_000)


def test_what_the_page_makes(page, tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    Image.fromarray(picture(90, 70)).save(tmp_path / "a.jpg", exif=exif)
    shares = []
    found = page.restore(str(tmp_path / "a.jpg"), 0.0, 2, 5, True, True, shares.append)
    assert [picture.size for picture in found.whole] == [(70, 90)] * 2
    assert found.centre is None  # all of it is seen pixel by pixel
    assert found.spread.size == (70, 90 + 36)
    assert shares == pytest.approx([i / 6 for i in range(1, 7)])  # 3 steps of 2 samples
    assert "samples differ by" in found.words
    with Image.open(found.path) as image:
        assert image.getexif()[0x010F] == "Camera"
    assert found.path.name == "a_sharp.jpg"
    with pytest.raises(ValueError, match="Drop a photograph"):
        page.restore(None)
    Image.new("RGB", (400, 300)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"b\.png has 0\.1 megapixels; this page takes 0\.1"):
        page.restore(str(tmp_path / "b.png"))


def test_the_page_says_what_the_command_says(page, tmp_path, monkeypatch):
    """A photograph that is sharp already, or whose result is no sharper, is left as it was."""
    from deblur_tf.inference import triage

    pixels = picture(40, 30)
    Image.fromarray(pixels).save(tmp_path / "a.png")

    def restored(**settings):
        found = page.restore(str(tmp_path / "a.png"), **settings)
        with Image.open(found.path) as image:
            return (np.asarray(image) == pixels).all(), found.words

    monkeypatch.setattr(triage, "sharpness", lambda image: 0.99)
    same, words = restored()
    assert same
    assert "sharp already" in words
    monkeypatch.setattr(triage, "sharpness", lambda image: None)
    monkeypatch.setattr(triage, "helped", lambda *pictures: False)
    same, words = restored()
    assert same
    assert "Hardly sharper" in words
    assert "left as it was" in words
    same, words = restored(always=True)
    assert not same
    assert "left as it was" not in words
    monkeypatch.setattr(triage, "helped", lambda *pictures: True)
    same, words = restored()
    assert not same
    assert "Sharpened in" in words


def test_a_large_photograph_is_shown_reduced_and_pixel_by_pixel(page, tmp_path, monkeypatch):
    from deblur_tf.serving import page as module

    monkeypatch.setattr(module, "PREVIEW", 60)
    Image.fromarray(picture(90, 50)).save(tmp_path / "a.png")
    found = page.restore(str(tmp_path / "a.png"), always=True)
    assert max(found.whole[0].size) == 60
    with Image.open(found.path) as image:
        np.testing.assert_array_equal(found.centre[1], np.asarray(image)[30:60, 10:40])
        assert image.size == (50, 90)


@pytest.mark.slow
def test_the_page_in_a_browser(page, tmp_path, monkeypatch):
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    Image.fromarray(picture(90, 70)).save(tmp_path / "photo.png", exif=exif)
    (tmp_path / "broken.png").write_bytes(b"broken")
    address = page.serve("127.0.0.1", 0, queue=2, block=False)
    assert address.startswith("http://127.0.0.1:")
    entered = threading.Event()
    restore = page.restore

    def endless(*args):
        entered.set()
        while True:
            args[-1](0.1)

    with browser(390, 844) as tab:
        outside = []
        tab.on("request", lambda r: outside.append(r.url) if address not in r.url else None)
        tab.goto(address)
        tab.wait_for_selector("#start")
        assert "Up to 0.1 megapixels" in tab.inner_text("body")
        assert not tab.locator("#result").is_visible()
        tab.set_input_files("input[type=file]", str(tmp_path / "broken.png"))
        tab.wait_for_selector("img[src*='broken.png']")
        tab.click("#start")
        tab.wait_for_selector("#words:has-text('broken.png: cannot be read as an image')")
        assert "Error" not in tab.inner_text("body")  # nothing else is marked

        tab.get_by_label("Remove Image").first.click()
        tab.set_input_files("input[type=file]", str(tmp_path / "photo.png"))
        tab.wait_for_selector("img[src*='photo.png']")
        tab.get_by_text("More settings").click()
        tab.get_by_label("Attempts to average").first.fill("2")
        tab.get_by_label("Show the result even if").check()
        tab.click("#start")
        tab.wait_for_selector("#words:has-text('samples differ by')")
        tab.wait_for_selector("#result img")
        with tab.expect_download() as download:
            tab.click("#download")
        assert download.value.suggested_filename == "photo_sharp.png"
        with Image.open(download.value.path()) as image:
            assert image.getexif()[0x010F] == "Camera"
        assert tab.evaluate("document.body.scrollWidth") <= 390  # nothing to scroll sideways

        monkeypatch.setattr(page, "restore", endless)
        tab.click("#start")
        assert entered.wait(20)
        tab.click("#cancel")
        tab.wait_for_selector("#words:has-text('Cancelled.')")
        assert not tab.locator("#result").is_visible()
        monkeypatch.setattr(page, "restore", restore)
        assert not [url for url in outside if url.startswith("http") and "127.0.0.1" not in url]
