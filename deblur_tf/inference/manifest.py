"""What was made of which file with what: `manifest.json` in the folder of the results."""

from __future__ import annotations

import importlib.metadata
import json
import os
import pathlib
import platform
from typing import Any

import deblur_tf
from deblur_tf.errors import UsageError
from deblur_tf.files import write_text

MANIFEST_FILE = "manifest.json"
_PACKAGES = ("tensorflow", "jax", "keras", "numpy", "pillow")


def versions() -> dict[str, str]:
    """Of this package, of Python and of what pictures depend on."""
    found = {"deblur_tf": deblur_tf.__version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


class Manifest:
    """An entry for each picture that was made, by its path below the folder.

    Args:
      folder: of the results.

    Raises:
      UsageError: if there is a manifest that cannot be read.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = pathlib.Path(folder)
        self.path = self.folder / MANIFEST_FILE
        self.files: dict[str, Any] = {}
        if self.path.exists():
            try:
                self.files = dict(json.loads(self.path.read_text(encoding="utf-8"))["files"])
            except (ValueError, KeyError, TypeError, OSError) as error:
                raise UsageError(
                    f"{self.path}: cannot be read ({error}); move it away, and what it tells "
                    "of must be made again with --overwrite"
                ) from error

    def _name(self, target: pathlib.Path) -> str:
        return target.relative_to(self.folder).as_posix()

    def identity(self, target: pathlib.Path) -> Any:
        """What a picture was made of, None if it is not known, {} if it was not finished."""
        entry = self.files.get(self._name(target))
        return None if entry is None else entry.get("made_of", {})

    def begin(self, target: pathlib.Path) -> None:
        """Says that a picture is about to be written: after a crash, it may be replaced."""
        self._write(target, {"unfinished": True})

    def record(self, target: pathlib.Path, made_of: dict[str, Any], **about: Any) -> None:
        """Adds an entry; the file is whole at any moment."""
        self._write(target, {"made_of": made_of, **about})

    def _write(self, target: pathlib.Path, entry: dict[str, Any]) -> None:
        self.files[self._name(target)] = entry
        text = {"versions": versions(), "files": self.files}
        write_text(self.path, json.dumps(text, indent=1) + "\n")
