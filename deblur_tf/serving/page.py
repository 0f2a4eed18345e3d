"""A web page that restores a dropped photograph: before and after, and its uncertainty."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr
import numpy as np
from gradio.components import Component
from PIL import Image

from deblur_tf.base.errors import Error
from deblur_tf.base.words import in_words
from deblur_tf.image_files.reading import Photo, open_image, read_photo, to_8_bits
from deblur_tf.image_files.writing import FORMATS, write_photo
from deblur_tf.inference import triage, uncertainty
from deblur_tf.inference.deblurrer import Deblurrer
from deblur_tf.inference.pictures import mean_image
from deblur_tf.inference.settings import Settings

MAX_SAMPLES = 8
BYTES_PER_PIXEL = 8  # of an uploaded file: 16 bits, three or four channels
PREVIEW = 1600  # longest side in pixels of a picture that the page shows
RESULTS_LIVE = 60.0  # seconds that results stay in the folder that Gradio copies from
CSS = "footer {display: none !important} #words {min-height: 4em}"

INTRODUCTION = """# Sharpen a blurred photograph
Drop a photograph that was blurred because the camera or its subject moved, and press *Sharpen*.
Up to {megapixels:g} megapixels and {megabytes:.0f} MB a file; photographs are sharpened one after
the other, and {queue} may wait. They stay on this machine."""

FIDELITY = (
    "1 stays as near to the real scene as can be told. Lower values look crisper, and more of "
    "their fine detail is made up."
)
SAMPLES = (
    "Each attempt makes up fine detail in its own way. The mean of several is safer and softer, "
    "and takes as many times as long. With two or more, a map shows where the attempts differ."
)
SEED = "The same number gives the same picture. Another one makes up other fine detail."
ALWAYS = "Show the result even if the photograph is sharp already or the result is hardly sharper"


class Cancelled(Exception):
    """Raised when the visitor cancels."""


@dataclasses.dataclass(frozen=True)
class Restored:
    """What the page shows of one photograph.

    Attributes:
      whole: before and after, at most `PREVIEW` pixels wide and high.
      centre: the middle of both pixel by pixel, if `whole` is reduced.
      spread: map of where the samples differ, if there are several.
      path: file of the result in full size, with EXIF and colour profile.
      words: what the visitor should know about it.
    """

    whole: tuple[Image.Image, Image.Image]
    centre: tuple[Image.Image, Image.Image] | None
    spread: Image.Image | None
    path: pathlib.Path
    words: str


class Page:
    """Restores what visitors drop, one photograph at a time.

    Args:
      deblurrer: the model.
      name: name of the model, for messages.
      max_pixels: largest photograph that is accepted, in pixels.
    """

    def __init__(self, deblurrer: Deblurrer, name: str = "tiny", max_pixels: int = 24_000_000):
        self.deblurrer, self.name, self.max_pixels = deblurrer, name, max_pixels
        self._cancelled: dict[str, threading.Event] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="deblur-demo-")

    def restore(
        self,
        path: str | None,
        fidelity: float = 1.0,
        n_samples: int = 1,
        seed: int | None = 0,
        color_guard: bool = False,
        always: bool = False,
        on_progress: Callable[[float], object] = lambda share: None,
    ) -> Restored:
        """Restores a file as `deblur-restore` does.

        Args:
          path: the photograph; None is refused.
          fidelity: from 0 to 1, if the model has a curve, see `deblur_tf.diffusion.fidelity`.
          n_samples: samples to draw and average.
          seed: seed of the samples; None: 0.
          color_guard: see `Deblurrer.restore`.
          always: restore a photograph that is sharp already, and keep a result that is no sharper.
          on_progress: called with the share of the steps that are done.

        Raises:
          DataError, ValueError: if this photograph is refused; the message says why.
        """
        if path is None:
            raise ValueError("Drop a photograph first.")
        started, name = time.monotonic(), pathlib.Path(path).name
        with open_image(path, name) as header:
            pixels = header.width * header.height
        if pixels > self.max_pixels:
            raise ValueError(
                f"{name} has {pixels / 1e6:.1f} megapixels; this page takes "
                f"{self.max_pixels / 1e6:g}, deblur-restore any size."
            )
        photo = read_photo(path, name)
        before = to_8_bits(photo.pixels)
        score = triage.sharpness(before)
        samples, result, words = None, photo.pixels, []
        if score is not None and score >= triage.SHARP and not always:
            words.append("**Left as it was:** the photograph is sharp already.")
        else:
            samples = self._samples(photo, fidelity, n_samples, seed, color_guard, on_progress)
            seconds = in_words(time.monotonic() - started)
            helped = triage.helped(before, mean_image(samples))
            if helped:
                words.append(f"Sharpened in {seconds}.")
            else:
                words.append(
                    "**Hardly sharper:** this model was probably not trained on such blur."
                    + ("" if always else " The photograph was left as it was.")
                )
            if always or helped:
                result = mean_image(samples, photo.pixels.dtype)
        return self._shown(path, photo, result, samples, words)

    def _samples(
        self,
        photo: Photo,
        fidelity: float,
        n_samples: int,
        seed: int | None,
        color_guard: bool,
        on_progress: Callable[[float], object],
    ) -> np.ndarray:
        """float32 [n_samples, H, W, 3]."""
        wanted: Settings = {"n_samples": int(n_samples)}
        if self.deblurrer.curve is not None:
            wanted["fidelity"] = fidelity
        sampling = self.deblurrer.settings(**wanted)
        total = sampling.steps * sampling.n_samples
        return self.deblurrer.draw(
            photo.pixels[None],
            int(seed or 0),
            sampling,
            lambda done: on_progress(done / total),
            color_guard,
        )[:, 0]

    def _shown(
        self,
        path: str,
        photo: Photo,
        result: np.ndarray,
        samples: np.ndarray | None,
        words: list[str],
    ) -> Restored:
        """Writes the result's file, and makes the pictures that the page shows."""
        self._forget()
        folder = pathlib.Path(tempfile.mkdtemp(dir=self._folder.name))
        source = pathlib.Path(path)
        suffix = source.suffix.lower()
        target = folder / f"{source.stem}_sharp{suffix if suffix in FORMATS else '.png'}"
        notes = write_photo(target, result, photo)
        spread = None
        if samples is not None and len(samples) > 1:
            found = uncertainty.spread_of(samples)
            uncertainty.write_picture(folder / "spread.png", found)
            with Image.open(folder / "spread.png") as picture:
                spread = picture.copy()
            words.append(str(uncertainty.summary(found)))
        pictures = [Image.fromarray(to_8_bits(x)) for x in (photo.pixels, result)]
        reduced = max(pictures[0].size) > PREVIEW
        return Restored(
            _pair(pictures, _thumbnail),
            _pair(pictures, _centre) if reduced else None,
            spread,
            target,
            "\n\n".join([*words, *photo.notes, *notes]),
        )

    def _forget(self) -> None:
        """Removes results that Gradio has long since copied."""
        for folder in pathlib.Path(self._folder.name).iterdir():
            if time.time() - folder.stat().st_mtime >= RESULTS_LIVE:
                shutil.rmtree(folder, ignore_errors=True)

    def cancel(self, visitor: str) -> None:
        """Stops the work for a visitor, if there is any, at its next step."""
        if event := self._cancelled.get(visitor):
            event.set()

    def _on_submit(
        self,
        path: str | None,
        fidelity: float,
        n_samples: int,
        seed: int,
        color_guard: bool,
        always: bool,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (how Gradio wants it)
    ) -> list[Any]:
        """What the components show afterwards: see `_updates`."""
        visitor, started = str(request.session_hash), time.monotonic()
        event = self._cancelled[visitor] = threading.Event()

        def report(share: float) -> None:
            if event.is_set():
                raise Cancelled
            left = (time.monotonic() - started) * (1.0 - share) / share if share else 0.0
            progress(share, desc=f"sharpening, about {in_words(left)} left")

        try:
            progress(0.0, desc="looking at the photograph")
            found = self.restore(path, fidelity, n_samples, seed, color_guard, always, report)
        except Cancelled:
            return _updates(None, "Cancelled.")
        except (Error, ValueError, MemoryError) as error:
            # Gradio would mark each of the components with an error that is raised.
            return _updates(None, f"**Not sharpened.** {error}")
        finally:
            self._cancelled.pop(visitor, None)
        return _updates(found, found.words)

    def _on_cancel(self, request: gr.Request) -> None:
        self.cancel(str(request.session_hash))

    def blocks(self, queue: int = 8) -> gr.Blocks:
        """Builds the page; `queue` photographs may wait."""
        limits = {
            "megapixels": self.max_pixels / 1e6,
            "megabytes": self.max_pixels * BYTES_PER_PIXEL / 1e6,
            "queue": queue,
        }
        hour = (3600, 3600)  # check Gradio's copies every hour; delete those older than one
        with gr.Blocks(title="deblur_tf", analytics_enabled=False, delete_cache=hour) as page:
            gr.Markdown(INTRODUCTION.format(**limits))
            with gr.Row():
                with gr.Column(scale=1, min_width=300):
                    photo = gr.Image(
                        type="filepath", label="Photograph", sources=["upload"], height=260
                    )
                    # The file as it is: Gradio would decode it, and of a damaged one say "Error".
                    photo.preprocess = lambda payload: payload and payload.path
                    with gr.Row():
                        start = gr.Button("Sharpen", variant="primary", elem_id="start")
                        stop = gr.Button("Cancel", elem_id="cancel")
                    settings = self._settings()
                with gr.Column(scale=2, min_width=300):
                    words = gr.Markdown("The result appears here.", elem_id="words")
                    results = self._results()
            start.click(
                self._on_submit,
                [photo, *settings],
                [words, *results],
                concurrency_limit=1,
                show_progress_on=[words],
                api_name="restore",
            )
            stop.click(self._on_cancel, None, None, queue=False, api_name=False)  # type: ignore[arg-type]
        return page

    def _settings(self) -> list[Component]:
        """Folded away, since most visitors need none."""
        with gr.Accordion("More settings", open=False):
            return [
                gr.Slider(
                    0, 1, 1, step=0.05, label="Faithful (1) or crisp (0)", info=FIDELITY,
                    visible=self.deblurrer.curve is not None,
                ),
                gr.Slider(1, MAX_SAMPLES, 1, step=1, label="Attempts to average", info=SAMPLES),
                gr.Number(0, label="Number of the attempt", info=SEED, precision=0),
                gr.Checkbox(False, label="Keep the colours of the photograph exactly"),
                gr.Checkbox(False, label=ALWAYS),
            ]  # fmt: skip

    def _results(self) -> list[Component]:
        """Hidden until there is something to show."""
        whole, centre = (
            gr.ImageSlider(
                label=label, elem_id=name, format="png", max_height=640, buttons=["fullscreen"],
                interactive=False, visible=False,
            )
            for name, label in (
                ("result", "Before and after"),
                ("centre", "The centre, pixel by pixel"),
            )
        )  # fmt: skip
        download = gr.DownloadButton(
            "Download in full size, with the camera's data", elem_id="download", visible=False
        )
        spread = gr.Image(
            label="Where the attempts differ",
            format="png",
            interactive=False,
            buttons=["download", "fullscreen"],
            visible=False,
        )
        return [whole, centre, download, spread]

    def serve(self, host: str, port: int, queue: int, block: bool = True) -> str:
        """Serves the page; returns its address.

        Args:
          host: address to listen at; 127.0.0.1 for this machine alone.
          port: port to listen at; 0 for any that is free.
          queue: number of photographs that may wait.
          block: whether to return only after Ctrl-C.
        """
        page = self.blocks(queue)
        page.queue(max_size=queue)
        _, address, _ = page.launch(
            server_name=host,
            server_port=port or None,
            prevent_thread_lock=not block,
            max_file_size=self.max_pixels * BYTES_PER_PIXEL,
            allowed_paths=[self._folder.name],
            quiet=not block,
            theme=gr.themes.Default(font=["sans-serif"], font_mono=["monospace"]),  # pyright: ignore[reportPrivateImportUsage]
            css=CSS,
            footer_links=[],
        )
        return address


def _updates(found: Restored | None, words: str) -> list[Any]:
    """Values of the words and of `Page._results`; what has nothing to show is hidden."""
    shown: Sequence[Any] = (None,) * 4
    if found is not None:
        shown = found.whole, found.centre, str(found.path), found.spread
    return [words, *(gr.update(value=value, visible=value is not None) for value in shown)]


def _pair(
    pictures: Sequence[Image.Image], make: Callable[[Image.Image], Image.Image]
) -> tuple[Image.Image, Image.Image]:
    before, after = pictures
    return make(before), make(after)


def _thumbnail(picture: Image.Image) -> Image.Image:
    picture = picture.copy()
    picture.thumbnail((PREVIEW, PREVIEW), Image.Resampling.LANCZOS)
    return picture


def _centre(picture: Image.Image) -> Image.Image:
    width, height = (min(n, PREVIEW // 2) for n in picture.size)
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))
