"""Sets up and starts a training run, for the program, experiments and tests."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from deblur_tf.base import bindings
from deblur_tf.base.errors import SaveError, UsageError
from deblur_tf.base.files import write_text
from deblur_tf.base.locks import locked
from deblur_tf.base.registry import may_change_on_resume
from deblur_tf.data.pair_source import PairSource
from deblur_tf.models import saved
from deblur_tf.models.flops import most_training_bytes, training_bytes
from deblur_tf.storage.arrays import (
    Arrays,
    frozen_variables,
    named_variables,
    parts_of,
    read_npz,
    write_npz,
)
from deblur_tf.storage.checkpoints import Checkpoints
from deblur_tf.storage.model_folders import FROZEN_FILE
from deblur_tf.training import loop
from deblur_tf.training.distribution import Placement, device, host_memory, worker_errors
from deblur_tf.training.histories import CONFIG_FILE
from deblur_tf.training.recipe import Recipe
from deblur_tf.training.steppers import Stepper, make_stepper
from deblur_tf.training.validation import Validation


@dataclasses.dataclass(frozen=True)
class Run:
    """A training run, ready to start.

    Attributes:
      recipe: what is trained.
      stepper: does the optimizer steps.
      pairs: training pairs.
      held_out: validation pairs.
      folder: the run directory.
      placement: the devices.
    """

    recipe: Recipe
    stepper: Stepper
    pairs: PairSource
    held_out: PairSource
    folder: pathlib.Path
    placement: Placement

    def describe(self, device_name: str) -> str:
        """The first line of a run."""
        recipe = self.recipe
        parts = "" if recipe.accumulate == 1 else f" in {recipe.accumulate} parts"
        return (
            f"{keras.backend.backend()} backend on {device_name}, {self.placement}; "
            f"{self.stepper.model.count_params() / 1e6:.3f} M parameters, "
            f"{self.pairs.describe()}, batch {recipe.batch_size}{parts}, "
            f"{recipe.total_steps} steps; validation on {self.held_out.describe()}; "
            f"run directory {self.folder}"
        )


def prepare(recipe: Recipe, folder: str | os.PathLike[str], placement: Placement) -> Run:
    """Builds model, optimizer and pairs, and checks that they fit together.

    Raises:
      ConfigError: if settings do not fit together.
      DataError: if there are no pairs.
    """
    with bindings.construction_errors():
        stepper = make_stepper(recipe, placement)
        multiple = stepper.model.size_multiple
        pairs = recipe.pairs()
        if pairs.crop_size < 1 or pairs.crop_size % multiple:
            raise ValueError(
                f"the crop size {pairs.crop_size} must be a multiple of {multiple}, since the "
                f"network halves its input; the nearest is "
                f"{max(round(pairs.crop_size / multiple), 1) * multiple}"
            )
        if recipe.batch_size % pairs.batch_multiple:
            raise ValueError(
                f"batch_size {recipe.batch_size} must be a multiple of {pairs.batch_multiple} for "
                "these pairs"
            )
        _check_memory(stepper.model, pairs.crop_size, recipe, placement)
        held_out = recipe.validation_pairs() if recipe.validation_pairs else pairs
    return Run(recipe, stepper, pairs, held_out, pathlib.Path(folder), placement)


def _check_memory(model: keras.Model, crop: int, recipe: Recipe, placement: Placement) -> None:
    """Refuses a step that needs more memory than this machine has, before it is killed."""
    here = host_memory()
    batch = recipe.batch_size // recipe.accumulate
    if here is None or placement.workers > 1:
        return
    if most_training_bytes(model, crop, batch) < 0.9 * here:
        return  # no need for the closer estimate, which takes seconds
    needed = training_bytes(model, crop, batch, recipe.objective.decodes(model))
    if needed > 0.9 * here:
        raise ValueError(
            f"a step on {recipe.batch_size} crops of {crop}x{crop} needs about "
            f"{needed / 2**30:.0f} GiB, and this machine has {here / 2**30:.0f} GiB: take smaller "
            "crops, a smaller batch, or --accumulate, which computes a batch in parts"
        )


def train(
    run: Run,
    device_kind: str = "auto",
    stop_after: float | None = None,
    init_from: str | os.PathLike[str] | None = None,
    resume: str = "newest",
) -> int:
    """Trains, or continues the run in the run directory.

    Args:
      run: from `prepare`.
      device_kind: see `distribution.device`.
      stop_after: seconds after which to save and stop.
      init_from: a model, run or checkpoint with whose averaged weights a new run starts;
        ignored if the run has already started.
      resume: "newest", or "whole": skip checkpoints that cannot be read.

    Returns:
      See `loop.train`.

    Raises:
      UsageError: if the directory holds a run of another model or other settings.
    """
    name = device(device_kind)
    with contextlib.ExitStack() as stack:
        if run.stepper.chief:
            made = [p for p in (run.folder, *run.folder.parents) if not p.exists()]
            try:
                run.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise _cannot_write(run, error) from error
            stack.callback(_remove_empty, made)  # of a training that was refused
            stack.enter_context(locked(run.folder))
        for pairs in (run.pairs, run.held_out):
            stack.callback(pairs.close)
        return _train(run, name, stop_after, init_from, resume)


def _remove_empty(folders: Sequence[pathlib.Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):  # something is in it
            folder.rmdir()


def _train(
    run: Run,
    name: str,
    stop_after: float | None,
    init_from: str | os.PathLike[str] | None,
    resume: str,
) -> int:
    """`train` in a folder that no other run writes to."""
    checkpoints = Checkpoints(run.folder, run.recipe.keep_checkpoints)
    _refuse_other_run(run, checkpoints)
    if checkpoints.latest() is None:
        if run.recipe.objective.finetunes and init_from is None:
            raise UsageError(
                "this configuration finetunes, and --init_from is missing: give the run or model "
                "whose weights it begins with"
            )
        _begin(run.stepper, init_from)
    elif frozen_variables(run.stepper.model):
        run.stepper.freeze(read_npz(run.folder / FROZEN_FILE), str(run.folder / FROZEN_FILE))
    validation: Callable[[Arrays], Any] | None = None
    if run.stepper.chief:
        _write_settings(run, begins=checkpoints.latest() is None)
        validation = Validation(run.recipe, run.held_out, run.stepper.frozen())
        print(run.describe(name), flush=True)
    with worker_errors(run.placement):
        return loop.train(
            run.recipe, run.stepper, run.pairs, run.folder, validation, stop_after, resume
        )


def _begin(stepper: Stepper, init_from: str | os.PathLike[str] | None) -> None:
    """Gives a new run its initial weights.

    Raises:
      UsageError: if the weights are for other settings, or there are none for frozen parts.
    """
    parts = new = parts_of(named_variables(stepper.model))
    if init_from is not None:
        saved.check_settings(stepper.model, init_from)
        weights, origin = saved.load_weights(init_from)
        new = stepper.start_from(weights, origin)
        unused = sorted(parts_of(weights) - parts)
        words = f"; new: {', '.join(new)}" if new else ""
        words += f"; not used: {', '.join(unused)}" if unused else ""
        print(f"starting from {origin}{words}", flush=True)
    lost = sorted(parts_of(frozen_variables(stepper.model)) & set(new))
    if lost:
        raise UsageError(
            f"this training leaves {', '.join(lost)} as given, but no weights are given: start "
            "from a model with trained weights (--init_from, see docs/deblurdiff.md)"
        )


def _refuse_other_run(run: Run, checkpoints: Checkpoints) -> None:
    if not saved.same_model_config(run.stepper.model, run.folder):
        raise UsageError(
            f"{run.folder} holds a run of another model; choose another --run_dir, or the "
            f"settings in {run.folder / CONFIG_FILE}"
        )
    path = run.folder / CONFIG_FILE
    if checkpoints.latest() is None or not path.exists():
        return
    before = bindings.parsed(path.read_text(encoding="utf-8"))
    now = bindings.parsed(bindings.operative())
    changed = [
        f"{name} was {before[name]}, now {now[name]}"
        for name in sorted(before.keys() & now.keys())
        if before[name] != now[name] and not _may_change(name, now)
    ]
    if changed:
        raise UsageError(
            f"{run.folder} holds a run with other settings ({'; '.join(changed[:4])}"
            f"{'; ...' if len(changed) > 4 else ''}); choose another --run_dir, with "
            f"--init_from={run.folder} to start from its weights"
        )


def _may_change(name: str, used: Mapping[str, str]) -> bool:
    """Whether a run may be continued with another value of a parameter or macro.

    A macro may change if all parameters that are bound to it may change.
    """
    if "." in name:
        return may_change_on_resume(name)
    bound = [other for other, value in used.items() if re.search(rf"%{name}\b", value)]
    return all(_may_change(other, used) for other in bound)


def _write_settings(run: Run, begins: bool) -> None:
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        saved.save_model_config(run.stepper.model, run.folder, run.recipe.sampling)
        write_text(run.folder / CONFIG_FILE, bindings.operative())
        frozen = run.stepper.frozen()
        if frozen and begins:
            write_npz(run.folder / FROZEN_FILE, frozen)
    except OSError as error:
        raise _cannot_write(run, error) from error


def _cannot_write(run: Run, error: OSError) -> SaveError:
    return SaveError(
        f"{run.folder}: cannot be written ({error.strerror or error}); choose another --run_dir"
    )
