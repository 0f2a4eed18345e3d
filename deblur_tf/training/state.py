"""Training state as named arrays, and checkpoints of it.

A checkpoint is one .npz file of float32 arrays named "model/<path>",
"ema/<path>", "optimizer/<path>" and "step", the same from every backend and
under every distribution strategy. Files appear whole or not at all.
"""

from __future__ import annotations

import os
import pathlib
import re
import tempfile
import zipfile
from collections.abc import Mapping

import keras
import numpy as np

State = dict[str, np.ndarray]
_FILE = re.compile(r"step_(\d{8})\.npz")


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be read or does not fit the model."""


class SaveError(RuntimeError):
    """A checkpoint could not be written; those before it are complete."""


def named_variables(
    layer: keras.layers.Layer, trainable_only: bool = False
) -> dict[str, keras.Variable]:
    """The layer's variables by path, without the layer's own name.

    Raises:
      ValueError: if two variables share a path.
    """
    variables = layer.trainable_variables if trainable_only else layer.variables
    named = {v.path.split("/", 1)[1]: v for v in variables}
    if len(named) != len(variables):
        raise ValueError(f"{layer.name}: two variables share one path")
    return named


def assign_named(
    variables: Mapping[str, keras.Variable], state: Mapping[str, np.ndarray], source: str
) -> None:
    """Assigns arrays to variables by name, after checking all of them.

    Raises:
      CheckpointError: naming `source` and the first differences, if names or
        shapes do not match.
    """
    missing = sorted(set(variables) - set(state))
    unknown = sorted(set(state) - set(variables))
    reshaped = [
        f"{n} {state[n].shape} != {tuple(v.shape)}"
        for n, v in variables.items()
        if n in state and tuple(v.shape) != state[n].shape
    ]
    problems = [
        f"{what}: {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"
        for what, names in (
            ("missing", missing),
            ("not in the model", unknown),
            ("of another shape", reshaped),
        )
        if names
    ]
    if problems:
        raise CheckpointError(f"{source}: weights do not fit the model; " + "; ".join(problems))
    for name, variable in variables.items():
        variable.assign(state[name])


def write_npz(path: str | os.PathLike[str], state: Mapping[str, np.ndarray]) -> None:
    """Writes arrays to a file that is complete before it gets its name."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **state)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def read_npz(path: str | os.PathLike[str]) -> State:
    """Reads what `write_npz` wrote.

    Raises:
      CheckpointError: if the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error


class Checkpoints:
    """The newest checkpoints of a run and its best, in `<run_dir>/checkpoints`.

    Args:
      run_dir: the run directory.
      keep: how many of the newest to keep, at least 1.
    """

    def __init__(self, run_dir: str | os.PathLike[str], keep: int = 3):
        if keep < 1:
            raise ValueError(f"keep must be 1 or more, got {keep}")
        self.folder = pathlib.Path(run_dir) / "checkpoints"
        self.best = self.folder / "best.npz"
        self.keep = keep
        self._best_score: float | None = None

    def all(self) -> list[pathlib.Path]:
        """Paths of the newest, oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(p for p in self.folder.iterdir() if _FILE.fullmatch(p.name))

    def latest(self) -> pathlib.Path | None:
        paths = self.all()
        return paths[-1] if paths else None

    def save(self, state: Mapping[str, np.ndarray]) -> pathlib.Path:
        """Writes a checkpoint, then deletes what is not to be kept.

        Raises:
          SaveError: if it cannot be written, for instance on a full disk.
        """
        path = self.folder / f"step_{int(state['step']):08d}.npz"
        self._write(path, state)
        leftovers = self.folder.glob("*.partial")  # of a run that was killed
        for old in [*self.all()[: -self.keep], *leftovers]:
            old.unlink()
        return path

    def save_best(self, state: Mapping[str, np.ndarray], score: float) -> bool:
        """Writes `best.npz` if the score is higher than the one stored there.

        Raises:
          SaveError: see `save`.
        """
        if self._best_score is None:
            stored = read_npz(self.best) if self.best.exists() else {}
            self._best_score = float(stored.get("score", -np.inf))
        if not score > self._best_score:
            return False
        self._write(self.best, {**state, "score": np.float64(score)})
        self._best_score = score
        return True

    def _write(self, path: pathlib.Path, state: Mapping[str, np.ndarray]) -> None:
        try:
            write_npz(path, state)
        except OSError as error:
            newest = self.latest()
            raise SaveError(
                f"{path}: could not be written ({error.strerror or error}). "
                + (f"The newest complete checkpoint is {newest}. " if newest else "")
                + "Make room and give the same command again"
            ) from error


def select(state: Mapping[str, np.ndarray], prefix: str) -> State:
    """The entries below "prefix/", without the prefix."""
    start = prefix + "/"
    return {n[len(start) :]: a for n, a in state.items() if n.startswith(start)}
