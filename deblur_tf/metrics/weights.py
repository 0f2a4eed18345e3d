"""Finds the weight files that metrics need and that do not come with the package.

Nothing is ever downloaded. `deblur-weights` makes each file from what its authors publish.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib

import numpy as np

from deblur_tf.base.errors import CheckpointError, UnavailableError
from deblur_tf.storage.arrays import Arrays

VARIABLE = "DEBLUR_TF_WEIGHTS"
CACHE = pathlib.Path("~/.cache/deblur_tf")


@dataclasses.dataclass(frozen=True)
class WeightFile:
    """A file of weights.

    Attributes:
      name: name of the file.
      source: what it is made from, with the checksum that its authors publish.
      command: command that makes it.
    """

    name: str
    source: str
    command: str


def folders(folder: str | os.PathLike[str] | None = None) -> list[pathlib.Path]:
    """Where to look: the folder that was given, $DEBLUR_TF_WEIGHTS, the cache."""
    given = [folder, os.environ.get(VARIABLE)]
    return [*(pathlib.Path(f) for f in given if f), CACHE.expanduser()]


def find(
    files: WeightFile | tuple[WeightFile, ...], folder: str | os.PathLike[str] | None
) -> pathlib.Path:
    """Path of the first of the files that exists; nothing is read.

    Raises:
      UnavailableError: if none exists; the message names the paths tried and how to make one.
    """
    files = (files,) if isinstance(files, WeightFile) else files
    tried = [root / file.name for root in folders(folder) for file in files]
    for path in tried:
        if path.is_file():
            return path
    made = "; or ".join(f"{file.source}: {file.command}" for file in files)
    raise UnavailableError(f"no weights; tried {', '.join(map(str, tried))}. Make them from {made}")


def sha256(path: str | os.PathLike[str]) -> str:
    """Checksum of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_arrays(arrays: Arrays, wanted: dict[str, tuple[int, ...]], source: object) -> Arrays:
    """Returns the arrays as float32 if they have exactly the names and shapes wanted.

    Raises:
      CheckpointError: otherwise; the message names the source and the first array that differs.
    """
    found = {name: array.shape for name, array in arrays.items()}
    wrong = [n for n in (*wanted, *found) if found.get(n) != wanted.get(n)]
    if wrong:
        n = wrong[0]
        raise CheckpointError(
            f"{source}: {n} has shape {found.get(n, 'none')}; needed is {wanted.get(n, 'none')}"
        )
    return {name: np.asarray(array, "float32") for name, array in arrays.items()}
