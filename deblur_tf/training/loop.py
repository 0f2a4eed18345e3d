"""The training loop: resumes, steps, validates, reports, saves checkpoints, stops cleanly."""

from __future__ import annotations

import contextlib
import math
import pathlib
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from deblur_tf.base.errors import CheckpointError, DataError, NonFiniteError
from deblur_tf.data.pair_source import PairSource
from deblur_tf.storage.arrays import Arrays
from deblur_tf.storage.checkpoints import Checkpoints
from deblur_tf.training.histories import SCORE
from deblur_tf.training.recipe import Recipe
from deblur_tf.training.run_log import CallbackLog, RunLog, SilentLog
from deblur_tf.training.steppers import Stepper

# Maps the averaged weights by name to figures and a picture, uint8 [H, W, 3].
Validate = Callable[[Arrays], tuple[dict[str, float], np.ndarray]]


class StopRequest:
    """Remembers the first SIGTERM or SIGINT, so that the process does not end within a step.

    Args:
      seconds: time after which it behaves as on a SIGTERM; None: never.
    """

    def __init__(self, seconds: float | None = None):
        self._number = 0
        self._seconds = seconds
        self._started = time.monotonic()

    @property
    def signal(self) -> int:
        """The signal's number, or 0."""
        over = self._seconds is not None and time.monotonic() - self._started >= self._seconds
        if over and not self._number:
            self._number = int(signal.SIGTERM)
            print(f"{self._seconds:g} s are over: saving ...", flush=True)
        return self._number

    @contextlib.contextmanager
    def watch(self) -> Iterator[StopRequest]:
        def remember(number: int, frame: Any) -> None:
            del frame
            if self._number:  # the second signal: stop at once
                raise KeyboardInterrupt
            self._number = number
            name = signal.Signals(number).name
            print(f"{name}: saving after this step ...", flush=True)

        watched = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, remember) for number in watched}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Window:
    """Metrics since the last progress line; checks each loss, one step late.

    Reading a loss waits for its step to finish. Reading it only after the next step has
    been dispatched keeps an accelerator busy.
    """

    def __init__(self) -> None:
        self._pending: tuple[int, dict[str, Any]] | None = None
        self._rows: list[dict[str, float]] = []

    def add(self, step: int, metrics: dict[str, Any]) -> None:
        self.settle()
        self._pending = (step, metrics)

    def settle(self) -> None:
        """Reads the pending metrics.

        Raises:
          NonFiniteError: naming the step and the loss terms.
        """
        if self._pending is None:
            return
        step, metrics = self._pending
        self._pending = None
        columns = {name: np.asarray(value).reshape(-1) for name, value in metrics.items()}
        for i, values in enumerate(zip(*columns.values(), strict=True)):
            row = {name: float(value) for name, value in zip(columns, values, strict=True)}
            if not all(math.isfinite(value) for value in row.values()):
                terms = ", ".join(f"{name} = {value}" for name, value in row.items())
                raise NonFiniteError(
                    f"step {step + i + 1}: the loss is not finite ({terms}). The run was "
                    "stopped; its newest checkpoint is from before that. Try a lower "
                    "learning rate, a longer warm-up or float32."
                )
            self._rows.append(row)

    def means(self) -> dict[str, float]:
        """Means since the last call."""
        self.settle()
        rows, self._rows = self._rows, []
        return {name: float(np.mean([r[name] for r in rows])) for name in rows[0]}


def train(
    recipe: Recipe,
    stepper: Stepper,
    pairs: PairSource,
    run_dir: str | pathlib.Path,
    validate: Validate | None = None,
    stop_after: float | None = None,
    resume: str = "newest",
) -> int:
    """Trains until `recipe.total_steps`, from the newest checkpoint if any.

    A run can be killed at any moment; the same call continues it, and the
    result equals that of an uninterrupted run, bit for bit. On SIGTERM or Ctrl-C
    the current step is finished and saved. If several processes train, only
    the chief writes files, and a signal to one of them stops all.

    Args:
      recipe: what to train.
      stepper: does the optimizer steps.
      pairs: gives the training pairs.
      run_dir: folder for `checkpoints/`, `samples/`, `metrics.jsonl` and TensorBoard
        events. All processes of a run must share it.
      validate: called with the averaged weights every `validate_every` steps.
        The state with the highest `SCORE` is kept as `checkpoints/best.npz`.
      stop_after: seconds after which to save and stop as on SIGTERM.
      resume: "newest": from the newest checkpoint; "whole": from the newest readable one.

    Returns:
      0 when the run is complete, otherwise the number of the signal that
      stopped it.

    Raises:
      NonFiniteError: at the first loss that is NaN or infinite.
      CheckpointError: if the newest checkpoint cannot be read or does not fit.
      SaveError: if a checkpoint cannot be written.
      DataError: if a training pair cannot be made; the current state is saved first.
    """
    checkpoints = Checkpoints(run_dir, recipe.keep_checkpoints)
    step = _resume(stepper, checkpoints, resume == "whole")
    if step >= recipe.total_steps:
        print(f"nothing to do: {step} of {recipe.total_steps} steps are done")
        return 0

    report: RunLog | CallbackLog | SilentLog = SilentLog()
    if stepper.chief:
        report = RunLog(run_dir, recipe.total_steps, step)
        if made := [make() for make in recipe.callbacks]:
            report = CallbackLog(report, made, stepper.model)
    window = _Window()
    batches = stepper.batches(pairs, step)
    saved = step
    stopped = 0.0

    def save() -> None:
        nonlocal saved
        window.settle()
        if stepper.chief and saved < step:
            checkpoints.save(stepper.state(step))
        saved = step

    with StopRequest(stop_after).watch() as stop, contextlib.closing(report):
        try:
            while step < recipe.total_steps:
                if stopped := stepper.sum_over_workers(stop.signal):
                    break
                window.add(step, stepper(next(batches), step))
                step += stepper.steps(step)
                last = step == recipe.total_steps
                if step % recipe.log_every == 0 or last:
                    rate = {"learning_rate": stepper.learning_rate()}
                    report.progress(step, window.means() | rate)
                if last:
                    save()  # now, so that no later failure can lose the weights
                # Before other checkpoints: a run that is killed in between repeats both.
                if validate and stepper.chief and (step % recipe.validate_every == 0 or last):
                    window.settle()
                    figures, picture = validate(stepper.averages())
                    report.validation(step, figures, picture)
                    if SCORE in figures:
                        checkpoints.save_best(stepper.state(step), figures[SCORE])
                if step % recipe.checkpoint_every == 0:
                    save()
        except DataError:
            save()  # the batch could not be made: the weights are those of the step before
            raise
        save()
    # If another process got the signal, this one does not know its number.
    return (stop.signal or int(signal.SIGTERM)) if stopped else 0


def _resume(stepper: Stepper, checkpoints: Checkpoints, whole: bool) -> int:
    """Restores the newest checkpoint, if any; returns the step from which to continue."""
    step = 0
    if (found := checkpoints.load(whole)) is not None:
        path, state = found
        step = stepper.restore(state, str(path))
        if stepper.chief:
            print(f"resuming from {path} at step {step}", flush=True)
    if stepper.sum_over_workers(step) != step * stepper.workers:
        raise CheckpointError(
            f"{checkpoints.folder}: the processes of this run find different checkpoints there; "
            "--run_dir must be a folder that all of them share"
        )
    return step
