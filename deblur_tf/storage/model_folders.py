"""Where models are stored on disk; nothing here needs Keras."""

from __future__ import annotations

import os
import pathlib
from importlib import resources

from deblur_tf.base.errors import ModelError
from deblur_tf.base.files import PARTIAL

CONFIG_FILE = "model.json"
WEIGHTS_FILE = "weights.npz"
# In a run directory: the frozen weights, which the run's checkpoints do not contain.
FROZEN_FILE = "frozen.npz"
CHECKPOINTS = "checkpoints"  # folder in a run directory
DEFAULT_MODEL = "tiny"


def pretrained_dir(name: str = DEFAULT_MODEL) -> pathlib.Path:
    """The folder of a model that comes with the package."""
    return pathlib.Path(str(resources.files("deblur_tf") / "pretrained" / name))


def pretrained_names() -> list[str]:
    """Names of the models in the package."""
    root = pretrained_dir("").resolve()
    return sorted(p.parent.name for p in root.glob(f"*/{CONFIG_FILE}"))


def find(name_or_dir: str | os.PathLike[str]) -> tuple[pathlib.Path, pathlib.Path | None]:
    """The folder of a model, and the checkpoint if the argument names one; reads nothing.

    Raises:
      ModelError: if there is no such model.
    """
    folder, chosen = pathlib.Path(name_or_dir), None
    if folder.suffix == ".npz" and folder.parent.name == CHECKPOINTS:
        folder, chosen = folder.parent.parent, folder
    if not folder.is_dir():
        folder = pretrained_dir(str(name_or_dir))
    if not (folder / CONFIG_FILE).is_file():
        raise ModelError(
            f"no model {str(name_or_dir)!r}: give a run directory of deblur-train, "
            f"a folder with {CONFIG_FILE}, or one of the models in the package "
            f"({', '.join(pretrained_names())})"
        )
    return folder, chosen


def has_other_files(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder has files that an interrupted export to it has not left there.

    An export writes the configuration last, so weights without one are such a file.
    """
    folder = pathlib.Path(folder)
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    kept = [name for name in names if not name.endswith(PARTIAL)]
    return kept not in ([], [WEIGHTS_FILE])
