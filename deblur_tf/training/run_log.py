"""Output of a training run: progress lines, a metrics file, TensorBoard events."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pathlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from deblur_tf.training.histories import METRICS_FILE


def format_duration(seconds: float) -> str:
    """1:02:03, or 2:03 below an hour."""
    minutes, secs = divmod(int(round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{secs:02d}" if hours else f"{minutes}:{secs:02d}"


class SilentLog:
    """Reports nothing; for all processes of a run but the chief."""

    def progress(self, step: int, metrics: Mapping[str, float]) -> None:
        """See `RunLog`."""

    def validation(self, step: int, metrics: Mapping[str, float], grid: np.ndarray) -> None:
        """See `RunLog`."""

    def close(self) -> None:
        """See `RunLog`."""


class CallbackLog:
    """Passes on what a `RunLog` reports to Keras callbacks, such as those of wandb or MLflow.

    A callback gets `on_train_begin`, `on_train_batch_end(step, logs)` with the means since the last
    progress line, `on_epoch_end(step, logs)` with the figures of each validation, and
    `on_train_end`.

    Args:
      log: the log that is written too.
      callbacks: the callbacks.
      model: the model that they see.
    """

    def __init__(self, log: RunLog, callbacks: Sequence[Any], model: Any):
        self._log, self._callbacks = log, callbacks
        for callback in callbacks:
            callback.set_model(model)
            callback.on_train_begin()

    def progress(self, step: int, metrics: Mapping[str, float]) -> None:
        """See `RunLog`."""
        self._log.progress(step, metrics)
        for callback in self._callbacks:
            callback.on_train_batch_end(step, dict(metrics))

    def validation(self, step: int, metrics: Mapping[str, float], grid: np.ndarray) -> None:
        """See `RunLog`."""
        self._log.validation(step, metrics, grid)
        for callback in self._callbacks:
            callback.on_epoch_end(step, dict(metrics))

    def close(self) -> None:
        """See `RunLog`."""
        self._log.close()
        for callback in self._callbacks:
            callback.on_train_end()


class RunLog:
    """Writes progress to the terminal, `metrics.jsonl` and TensorBoard files.

    A record that cannot be written, for instance on a full disk, gives a warning only:
    a run can do without records, but not without checkpoints.

    Args:
      run_dir: the run directory.
      total_steps: for the estimate of the time left.
      first_step: number of steps done before this process started; records of later steps, from
        a process that was killed, are dropped.
    """

    def __init__(self, run_dir: str | os.PathLike[str], total_steps: int, first_step: int):
        self.run_dir = pathlib.Path(run_dir)
        self.total_steps = total_steps
        self._metrics = self.run_dir / METRICS_FILE
        self._events = EventFileWriter(str(run_dir))
        with self._warn():
            self._forget_after(first_step)
        self._last = (time.monotonic(), first_step)
        self._rate = 0.0
        self._intervals = 0

    def progress(self, step: int, metrics: Mapping[str, float]) -> None:
        """Reports means over the steps since the last call."""
        now = time.monotonic()
        then, before = self._last
        rate = (step - before) / max(now - then, 1e-9)
        # The rate of the first interval includes compilation: it is replaced, not averaged.
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
        buffer = io.BytesIO()
        Image.fromarray(grid).save(buffer, "png")
        with self._warn():
            folder = self.run_dir / "samples"
            folder.mkdir(exist_ok=True)
            (folder / f"step_{step:08d}.png").write_bytes(buffer.getvalue())
        terms = "  ".join(f"{name} {value:.2f}" for name, value in metrics.items())
        print(f"step {step}: validation  {terms or 'picture'}", flush=True)
        if metrics:
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
        with self._warn():
            self._events.add_event(event)

    def _record(self, record: Mapping[str, float]) -> None:
        with self._warn(), open(self._metrics, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def _forget_after(self, step: int) -> None:
        if not self._metrics.exists():
            return
        kept = []
        for line in self._metrics.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):  # a line cut short by a kill
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
        partial = self._metrics.with_suffix(".partial")
        partial.write_text("".join(kept), encoding="utf-8")
        os.replace(partial, self._metrics)

    @contextlib.contextmanager
    def _warn(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            print(f"warning: {self.run_dir}: not recorded ({error})", file=sys.stderr, flush=True)

    def close(self) -> None:
        with self._warn():
            self._events.close()
        sys.stdout.flush()
