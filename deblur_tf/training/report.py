"""What a run tells: progress lines, a metrics file, TensorBoard events."""

from __future__ import annotations

import io
import json
import pathlib
import sys
import time
from collections.abc import Mapping

import numpy as np
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter


def format_duration(seconds: float) -> str:
    """1:02:03, or 2:03 below an hour."""
    minutes, secs = divmod(int(round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{secs:02d}" if hours else f"{minutes}:{secs:02d}"


class Report:
    """Writes progress to the terminal, `metrics.jsonl` and TensorBoard files.

    Args:
      run_dir: the run directory.
      total_steps: for the estimate of the time left.
      first_step: steps that were done before this process.
    """

    def __init__(self, run_dir: pathlib.Path, total_steps: int, first_step: int):
        self.run_dir = run_dir
        self.total_steps = total_steps
        self._events = EventFileWriter(str(run_dir))
        self._last = (time.monotonic(), first_step)
        self._rate = 0.0
        self._intervals = 0

    def progress(self, step: int, metrics: Mapping[str, float]) -> None:
        """Reports means over the steps since the last call."""
        now = time.monotonic()
        then, before = self._last
        rate = (step - before) / max(now - then, 1e-9)
        # The first interval contains compilation: replaced, not averaged.
        self._rate = rate if self._intervals < 2 else (self._rate + rate) / 2
        self._intervals += 1
        self._last = (now, step)
        left = format_duration((self.total_steps - step) / self._rate)
        terms = "  ".join(
            f"{name} {value:.2e}" if name == "learning_rate" else f"{name} {value:.4f}"
            for name, value in metrics.items()
        )
        width = len(str(self.total_steps))
        print(
            f"step {step:{width}d}/{self.total_steps}  {terms}  {rate:.2f} steps/s  ETA {left}",
            flush=True,
        )
        record = {"step": step, **metrics, "steps_per_second": rate}
        self._record(record)
        self.scalars(step, {**metrics, "steps_per_second": rate})

    def validation(self, step: int, metrics: Mapping[str, float], grid: np.ndarray) -> None:
        """Reports validation figures and a picture, uint8 [H, W, 3]."""
        folder = self.run_dir / "samples"
        folder.mkdir(exist_ok=True)
        buffer = io.BytesIO()
        Image.fromarray(grid).save(buffer, "png")
        (folder / f"step_{step:08d}.png").write_bytes(buffer.getvalue())
        terms = "  ".join(f"{name} {value:.2f}" for name, value in metrics.items())
        print(f"step {step}: validation  {terms}", flush=True)
        self._record({"step": step, **metrics})
        self.scalars(step, metrics)
        image = Summary.Image(
            height=grid.shape[0],
            width=grid.shape[1],
            colorspace=3,
            encoded_image_string=buffer.getvalue(),
        )
        self._write(step, [Summary.Value(tag="validation", image=image)])

    def scalars(self, step: int, metrics: Mapping[str, float]) -> None:
        self._write(
            step,
            [Summary.Value(tag=n, simple_value=v) for n, v in metrics.items()],
        )

    def _write(self, step: int, values: list) -> None:
        event = Event(wall_time=time.time(), step=step, summary=Summary(value=values))
        self._events.add_event(event)

    def _record(self, record: Mapping[str, float]) -> None:
        with open(self.run_dir / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def close(self) -> None:
        self._events.close()
        sys.stdout.flush()
