"""Atomic writing: a file is complete before it gets its final name."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

PARTIAL = ".partial"  # suffix of a file that is still being written
_OURS = ".deblur_tf-"  # how the temporary names of `replacing` begin


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], sync: bool = False) -> Iterator[BinaryIO]:
    """Opens a temporary file that is renamed to `path` when the block ends without error.

    Args:
      path: replaced if it exists; its folder is created if missing.
      sync: whether to flush the file to disk before renaming, so that no crash can lose it.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=_OURS, suffix=PARTIAL)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def remove_partials(folder: str | os.PathLike[str]) -> None:
    """Deletes the files that writers who were killed have left unfinished in a folder.

    Nobody else may be writing there, see `locks`.
    """
    for path in pathlib.Path(folder).rglob(f"{_OURS}*{PARTIAL}"):
        if path.is_file():
            path.unlink(missing_ok=True)


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 digest of a file's contents, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text file in UTF-8, whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


def write_csv(path: str | os.PathLike[str], rows: Sequence[Mapping[str, object]]) -> None:
    """Writes a CSV file, whole or not at all; its columns are the union of all rows' keys."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)))
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


MAX_JSON = 64 << 20  # bytes; a manifest of a hundred thousand pictures has about half of it


def read_json(path: str | os.PathLike[str], most: int = MAX_JSON) -> Any:
    """A JSON file that somebody else may have written.

    Raises:
      ValueError: if it is no JSON, has more than `most` bytes, or is nested too deeply.
      OSError: if it cannot be read.
    """
    size = os.path.getsize(path)
    if size > most:
        raise ValueError(f"{size:,} bytes; at most {most:,} are read")
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
