"""The web page: what it makes, and what a browser shows."""

import pathlib
import threading

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
    slider, spread, path, words = page.restore(
        str(tmp_path / "a.jpg"), 0.0, 2, 5, True, shares.append
    )
    assert slider[0].size == slider[1].size == (70, 90)
    assert spread.size == (70, 90 + 36)
    assert shares[-1] == 1.0
    assert "3 step(s) of ddpm" in words
    assert "samples differ by" in words
    with Image.open(path) as image:
        assert image.getexif()[0x010F] == "Camera"
    assert pathlib.Path(path).name == "a_sharp.jpg"
    with pytest.raises(ValueError, match="drop a photograph"):
        page.restore(None, 1.0, 1, 0, False, shares.append)
    Image.new("RGB", (400, 300)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"0\.1 megapixels; this page takes 0\.1"):
        page.restore(str(tmp_path / "b.png"), 1.0, 1, 0, False, shares.append)


@pytest.mark.slow
def test_the_page_in_a_browser(page, tmp_path, monkeypatch):
    Image.fromarray(picture(90, 70)).save(tmp_path / "photo.png")
    (tmp_path / "broken.png").write_bytes(b"broken")
    address = page.serve("127.0.0.1", 0, queue=2, block=False)
    assert address.startswith("http://127.0.0.1:")
    entered = threading.Event()
    restore = page.restore

    def endless(*args):
        entered.set()
        while True:
            args[-1](0.1)

    with browser() as tab:
        outside = []
        tab.on("request", lambda r: outside.append(r.url) if address not in r.url else None)
        tab.goto(address)
        tab.wait_for_selector("#start")
        tab.set_input_files("input[type=file]", str(tmp_path / "photo.png"))
        tab.wait_for_selector("img[src*='photo.png']")
        tab.get_by_label("Samples to average").first.fill("2")
        tab.click("#start")
        tab.wait_for_selector("#words p")
        assert "samples differ by" in tab.inner_text("#words")
        assert tab.locator("#result img").count() >= 2
        assert "photo_sharp.png" in tab.content()

        monkeypatch.setattr(page, "restore", endless)
        tab.click("#start")
        assert entered.wait(20)
        tab.click("#cancel")
        tab.wait_for_selector("#words:has-text('Cancelled.')")
        monkeypatch.setattr(page, "restore", restore)
        assert not [url for url in outside if url.startswith("http") and "127.0.0.1" not in url]
