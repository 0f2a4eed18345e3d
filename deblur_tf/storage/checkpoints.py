"""Checkpoints of a training run.

A checkpoint is one .npz file of float32 arrays named "model/<path>",
"ema/<path>", "optimizer/<path>" and "step", the same from every backend and
under every distribution strategy. Files appear whole or not at all.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from deblur_tf.base.errors import CheckpointError, SaveError
from deblur_tf.base.files import PARTIAL
from deblur_tf.storage.arrays import Arrays, read_npz, write_npz
from deblur_tf.storage.model_folders import CHECKPOINTS

_FILE = re.compile(r"step_(\d{8})\.npz")


def read_checkpoint(path: str | os.PathLike[str]) -> Arrays:
    """The arrays of a checkpoint.

    Raises:
      CheckpointError: if it cannot be read, or is another kind of file.
    """
    state = read_npz(path)
    if "step" not in state:
        raise CheckpointError(f"{path}: not a checkpoint of deblur-train (no step in it)")
    return state


class Checkpoints:
    """The newest checkpoints of a run and its best, in `<run_dir>/checkpoints`.

    Args:
      run_dir: the run directory.
      keep: how many of the newest to keep, at least 1.
    """

    def __init__(self, run_dir: str | os.PathLike[str], keep: int = 3):
        if keep < 1:
            raise ValueError(f"keep must be 1 or more, got {keep}")
        self.folder = pathlib.Path(run_dir) / CHECKPOINTS
        self.best = self.folder / "best.npz"
        self.keep = keep
        self._best_score: float | None = None

    def all(self) -> list[pathlib.Path]:
        """Paths of the newest checkpoints, oldest first; `best` is not among them."""
        if not self.folder.is_dir():
            return []
        return sorted(p for p in self.folder.iterdir() if _FILE.fullmatch(p.name))

    def latest(self) -> pathlib.Path | None:
        paths = self.all()
        return paths[-1] if paths else None

    def load(self, whole: bool = False) -> tuple[pathlib.Path, Arrays] | None:
        """The newest checkpoint and its arrays; None if there is none.

        Args:
          whole: skip checkpoints that cannot be read.

        Raises:
          CheckpointError: if it cannot be read; the message names an older one that can.
        """
        paths = self.all()
        for i in range(len(paths) - 1, -1, -1):
            try:
                return paths[i], read_checkpoint(paths[i])
            except CheckpointError as error:
                if whole and i:
                    continue
                raise CheckpointError(f"{error}{self._remedy(paths[:i])}") from error
        return None

    def _remedy(self, older: Sequence[pathlib.Path]) -> str:
        for path in reversed(older):
            with contextlib.suppress(CheckpointError):
                read_checkpoint(path)
                return (
                    f". The newest whole checkpoint is {path}: resume from it with "
                    f"--resume=whole, or use it with --model={path}"
                )
        return f". No other checkpoint in {self.folder} is whole"

    def save(self, state: Mapping[str, np.ndarray]) -> pathlib.Path:
        """Writes a checkpoint, then deletes the oldest ones beyond `keep`.

        Raises:
          SaveError: if it cannot be written, for instance on a full disk.
        """
        path = self.folder / f"step_{int(state['step']):08d}.npz"
        self._write(path, state)
        leftovers = self.folder.glob(f"*{PARTIAL}")  # from a killed run
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
        self._write(self.best, {**state, "score": np.asarray(score, np.float64)})
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
                + "Free some disk space and run the same command again"
            ) from error
