"""A web page that restores a dropped photograph: before and after, and its uncertainty."""

from __future__ import annotations

import os
import pathlib
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr
from PIL import Image

from deblur_tf.base.errors import Error
from deblur_tf.image_files.reading import open_image, read_photo, to_8_bits
from deblur_tf.image_files.writing import FORMATS, write_photo
from deblur_tf.inference import triage, uncertainty
from deblur_tf.inference.deblurrer import Deblurrer
from deblur_tf.inference.pictures import mean_image
from deblur_tf.inference.settings import Settings

MAX_SAMPLES = 8
RESULTS_LIVE = 600.0  # seconds that results stay in the folder that Gradio copies from
CSS = "footer {display: none !important}"


class Cancelled(Exception):
    """Raised when the visitor cancels."""


class Page:
    """Restores what visitors drop, one photograph at a time.

    Args:
      deblurrer: the model.
      name: name of the model, for the title.
      max_pixels: largest photograph that is accepted, in pixels.
    """

    def __init__(self, deblurrer: Deblurrer, name: str = "tiny", max_pixels: int = 4_000_000):
        self.deblurrer, self.name, self.max_pixels = deblurrer, name, max_pixels
        self._cancelled: dict[str, threading.Event] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="deblur-demo-")

    def restore(
        self,
        path: str | None,
        fidelity: float,
        n_samples: int,
        seed: int | None,
        color_guard: bool,
        on_progress: Callable[[float], None],
    ) -> tuple[Any, Any, str, str]:
        """Returns (before, after), the uncertainty map or None, the result's file, and a message.

        Raises:
          DataError, ValueError: if this photograph is refused; the message says why.
        """
        if path is None:
            raise ValueError("drop a photograph first")
        name = pathlib.Path(path).name
        with open_image(path, name) as header:
            pixels = header.width * header.height
        if pixels > self.max_pixels:
            raise ValueError(
                f"{pixels / 1e6:.1f} megapixels; this page takes {self.max_pixels / 1e6:g}, "
                "deblur-restore any size"
            )
        photo = read_photo(path, name)
        wanted: Settings = {"n_samples": int(n_samples)}
        if self.deblurrer.curve is not None:
            wanted["fidelity"] = fidelity
        sampling = self.deblurrer.settings(**wanted)
        total = sampling.steps * sampling.n_samples
        samples = self.deblurrer.draw(
            photo.pixels[None],
            int(seed or 0),
            sampling,
            lambda done: on_progress(done / total),
            color_guard,
        )[:, 0]
        self._forget()
        folder = pathlib.Path(tempfile.mkdtemp(dir=self._folder.name))
        suffix = pathlib.Path(path).suffix.lower()
        target = (
            folder / f"{pathlib.Path(path).stem}_sharp{suffix if suffix in FORMATS else '.png'}"
        )
        result = mean_image(samples, photo.pixels.dtype)
        words = [sampling.describe(self.deblurrer.model.schedule_kind)]
        if not triage.helped(to_8_bits(photo.pixels), mean_image(samples)):
            result = photo.pixels
            words.append(
                "Left as it was: the result is no sharper; this model was probably not trained on "
                "such blur."
            )
        notes = write_photo(target, result, photo)
        spread = None
        if len(samples) > 1:
            found = uncertainty.spread_of(samples)
            uncertainty.write_picture(folder / "spread.png", found)
            spread = Image.open(folder / "spread.png")
            words.append(str(uncertainty.summary(found)))
        score = triage.sharpness(to_8_bits(photo.pixels))
        if score is not None and score >= triage.SHARP:
            words.append(f"It was sharp already (score {score:.2f}).")
        words += [*photo.notes, *notes]
        slider = tuple(Image.fromarray(to_8_bits(x)) for x in (photo.pixels, result))
        return slider, spread, str(target), "\n\n".join(words)

    def _forget(self) -> None:
        """Removes results that Gradio has long since copied."""
        for folder in pathlib.Path(self._folder.name).iterdir():
            if time.time() - folder.stat().st_mtime > RESULTS_LIVE:
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
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (how Gradio wants it)
    ) -> tuple[Any, Any, str | None, str]:
        visitor = str(request.session_hash)
        event = self._cancelled[visitor] = threading.Event()

        def report(share: float) -> None:
            if event.is_set():
                raise Cancelled
            progress(share, desc="restoring")

        try:
            progress(0.0, desc="looking at the photograph")
            return self.restore(path, fidelity, n_samples, seed, color_guard, report)
        except Cancelled:
            return None, None, None, "Cancelled."
        except (Error, ValueError, MemoryError) as error:
            raise gr.Error(str(error)) from error
        finally:
            self._cancelled.pop(visitor, None)

    def _on_cancel(self, request: gr.Request) -> None:
        self.cancel(str(request.session_hash))

    def blocks(self) -> gr.Blocks:
        """Builds the page."""
        has_curve = self.deblurrer.curve is not None
        settings = self.deblurrer.sampling.describe(self.deblurrer.model.schedule_kind)
        hour = (3600, 3600)  # check Gradio's copies every hour; delete those older than one
        with gr.Blocks(title="deblur_tf", analytics_enabled=False, delete_cache=hour) as page:
            gr.Markdown(
                "# Sharpen a blurred photograph\n"
                f"Model *{self.name}*: {settings}. Photographs stay on "
                "this machine."
            )
            with gr.Row():
                with gr.Column(scale=1):
                    photo = gr.Image(
                        type="filepath",
                        image_mode=None,  # the unchanged file: Gradio must not decode it
                        label="Photograph",
                        sources=["upload"],
                        height=260,
                    )
                    fidelity = gr.Slider(
                        0, 1, 1, step=0.05, label="Fidelity: 0 looks best, 1 is nearest the truth",
                        visible=has_curve,
                    )  # fmt: skip
                    samples = gr.Slider(1, MAX_SAMPLES, 1, step=1, label="Samples to average")
                    seed = gr.Number(0, label="Seed", precision=0)
                    guard = gr.Checkbox(False, label="Keep the colours of the photograph")
                    with gr.Row():
                        start = gr.Button("Sharpen", variant="primary", elem_id="start")
                        stop = gr.Button("Cancel", elem_id="cancel")
                with gr.Column(scale=2):
                    slider = gr.ImageSlider(
                        label="Before and after", elem_id="result", format="png", max_height=640
                    )
                    words = gr.Markdown(elem_id="words")
                    download = gr.File(label="The result, with EXIF and colour profile")
                    spread = gr.Image(
                        label="Where samples differ (with 2 samples or more)",
                        format="png",
                        interactive=False,
                        buttons=["download", "fullscreen"],
                    )
            start.click(
                self._on_submit,
                [photo, fidelity, samples, seed, guard],
                [slider, spread, download, words],
                concurrency_limit=1,
                api_name="restore",
            )
            stop.click(self._on_cancel, None, None, queue=False, api_name=False)  # type: ignore[arg-type]
        return page

    def serve(self, host: str, port: int, queue: int, block: bool = True) -> str:
        """Serves the page; returns its address.

        Args:
          host: address to listen at; 127.0.0.1 for this machine alone.
          port: port to listen at; 0 for any that is free.
          queue: number of photographs that may wait.
          block: whether to return only after Ctrl-C.
        """
        page = self.blocks()
        page.queue(max_size=queue)
        _, address, _ = page.launch(
            server_name=host,
            server_port=port or None,
            prevent_thread_lock=not block,
            max_file_size=64 << 20,
            allowed_paths=[self._folder.name],
            quiet=not block,
            theme=gr.themes.Default(font=["sans-serif"], font_mono=["monospace"]),  # pyright: ignore[reportPrivateImportUsage]
            css=CSS,
            footer_links=[],
        )
        return address
