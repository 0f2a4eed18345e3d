"""`manifest.json` in the folder of results: the source and settings of each result."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from deblur_tf.base.errors import UsageError
from deblur_tf.base.files import read_json, remove_partials, sha256, write_text
from deblur_tf.base.locks import locked
from deblur_tf.base.versions import versions
from deblur_tf.image_files.listing import Task

MANIFEST_FILE, JOURNAL_FILE = "manifest.json", "manifest.journal"
_PACKAGES = ("tensorflow", "jax", "keras", "numpy", "pillow")


class Manifest:
    """The entries of all pictures that were made, by their path below the folder.

    During the work entries are appended as lines to a journal beside the manifest, so that the cost
    of an entry does not grow with their number, and none is lost however the work ends.

    Args:
      folder: folder of the results.

    Attributes:
      files: the entries.
      command: what the last command that restored everything depended on, see `finish`.

    Raises:
      UsageError: if there is a manifest that cannot be read.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = pathlib.Path(folder)
        self.path = self.folder / MANIFEST_FILE
        self._journal = self.folder / JOURNAL_FILE
        self._read()

    def _read(self) -> None:
        self._of_before = self._journal.exists()
        self.files: dict[str, dict[str, Any]] = {}
        self.command: dict[str, Any] = {}
        try:
            if self.path.exists():
                found = read_json(self.path)
                self.files = {name: dict(entry) for name, entry in found["files"].items()}
                self.command = dict(found.get("command", {}))
            if self._of_before:
                for line in self._journal.read_text(encoding="utf-8").splitlines():
                    with contextlib.suppress(json.JSONDecodeError):  # the last may be incomplete
                        self.files.update(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise UsageError(
                f"{self.path}: cannot be read ({error}); move it away, and restore its "
                "pictures again with --overwrite"
            ) from error

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """In this context no other process writes to the folder; its end completes manifest.json.

        Raises:
          UsageError: if another process is writing to the folder.
        """
        with locked(self.folder):
            remove_partials(self.folder)
            self._read()  # another process may have written since
            yield
            self.close()

    def _name(self, target: pathlib.Path) -> str:
        return target.relative_to(self.folder).as_posix()

    def identity(self, target: pathlib.Path) -> Any:
        """Source and settings of a picture; None if not recorded, {} if it was not finished."""
        entry = self.files.get(self._name(target))
        return None if entry is None else entry.get("made_of", {})

    def outputs(self, target: pathlib.Path) -> set[pathlib.Path]:
        """All files that were written for a picture, itself included."""
        entry = self.files.get(self._name(target), {})
        return {self.folder / name for name in entry.get("outputs", [])}

    def everything(self) -> set[pathlib.Path]:
        """Resolved paths of all files that were made."""
        names = {name for entry in self.files.values() for name in entry.get("outputs", [])}
        return {(self.folder / name).resolve() for name in names}

    def begin(self, target: pathlib.Path, outputs: Iterable[pathlib.Path]) -> None:
        """Records that files are about to be written, so that they may be replaced after a crash.

        The files of an earlier entry are recorded with them.
        """
        names = {self._name(path) for path in (*outputs, *self.outputs(target))}
        self._write(target, {"unfinished": True, "outputs": sorted(names)})

    def record(
        self,
        target: pathlib.Path,
        outputs: Iterable[pathlib.Path],
        made_of: dict[str, Any],
        **about: Any,
    ) -> None:
        """Records a picture that is finished."""
        names = [self._name(path) for path in outputs]
        entry = {"made_of": made_of, **about, "outputs": names, "versions": versions(_PACKAGES)}
        self._write(target, entry)

    def _write(self, target: pathlib.Path, entry: dict[str, Any]) -> None:
        if self._of_before:  # the last line of an old journal may be cut: do not append to it
            self.close()
            self._of_before = False
        self.files[self._name(target)] = entry
        with open(self._journal, "a", encoding="utf-8") as file:
            file.write(json.dumps({self._name(target): entry}) + "\n")

    def merge(self, entries: Mapping[str, dict[str, Any]]) -> None:
        """Records pictures that other processes have made, by their path below the folder."""
        if entries:
            self.files.update(entries)
            self._save()

    def close(self) -> None:
        """Writes manifest.json, and removes the journal."""
        if self._journal.exists():
            self._save()
            self._journal.unlink()

    def _save(self) -> None:
        whole = {"command": self.command, "files": self.files}
        write_text(self.path, json.dumps(whole, indent=1) + "\n")

    def finish(self, command: dict[str, Any]) -> None:
        """Records that all that a command asked for is there.

        Args:
          command: everything that its results depend on except their sources, as JSON knows it.
        """
        if command != self.command:
            self.command = command
            self._save()

    def has_all(self, command: dict[str, Any], tasks: Iterable[Task]) -> bool:
        """Whether all results of a command are there, from the sources as they are now."""
        if command != self.command:
            return False
        for task in tasks:
            made_of = self.identity(task.target) or {}
            if not all(path.exists() for path in (task.target, *self.outputs(task.target))):
                return False
            if made_of.get("source") != task.source.path.name:
                return False
            if made_of.get("sha256") != sha256(task.source.path):
                return False
        return True
