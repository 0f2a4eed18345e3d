"""Files on this machine, in the cloud or on a cluster, through Apache Beam's file systems."""

from __future__ import annotations

import contextlib
import glob
import io
import json
import pathlib
import posixpath
import shutil
import uuid
from collections.abc import Sequence
from typing import Any

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from deblur_tf.base.errors import UsageError
from deblur_tf.base.files import PARTIAL, replacing
from deblur_tf.image_files.listing import Source, is_photo
from deblur_tf.image_files.walking import hidden


def is_remote(path: str) -> bool:
    """Whether a path names another file system, as gs://, s3:// and hdfs:// do."""
    return "://" in path


def join(folder: str, name: str) -> str:
    """The path of a file below a folder; `name` has forward slashes."""
    return f"{folder.rstrip('/')}/{name}" if is_remote(folder) else str(pathlib.Path(folder, name))


def exists(path: str) -> bool:
    """Whether there is such a file."""
    return FileSystems.exists(path)


def fetch(path: str, target: pathlib.Path) -> None:
    """Copies a file to this machine.

    Raises:
      OSError: if it cannot be read.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not decompressed, whatever its name ends with.
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as source:
        with open(target, "wb") as file:
            shutil.copyfileobj(source, file)


def put(source: pathlib.Path | bytes, path: str) -> None:
    """Writes a file, whole or not at all, whoever else writes it at the same time.

    Args:
      source: a file of this machine, or the content.
      path: replaced if it exists.
    """
    if isinstance(source, bytes):
        content = io.BytesIO(source)
    else:
        content = open(source, "rb")
    with content:
        if not is_remote(path):
            with replacing(path) as file:
                shutil.copyfileobj(content, file)
            return
        partial = f"{path}.{uuid.uuid4().hex}{PARTIAL}"
        with FileSystems.create(partial, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            shutil.copyfileobj(content, file)
        FileSystems.rename([partial], [path])


def delete(paths: Sequence[str]) -> None:
    """Deletes those of some files that exist."""
    with contextlib.suppress(BeamIOError):
        FileSystems.delete([path for path in paths if exists(path)])


def read_json(path: str) -> Any:
    """The content of a JSON file; None if there is no such file or it is damaged."""
    try:
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            return json.loads(file.read())
    except (OSError, BeamIOError, ValueError):
        return None


def files_below(folder: str, pattern: str = "**") -> list[str]:
    """Paths of the files of a folder that match a pattern, sorted; empty without the folder."""
    try:
        found = FileSystems.match([join(folder, pattern)])
    except BeamIOError:
        return []
    return sorted(metadata.path for match in found for metadata in match.metadata_list)


def search(given: str, recursive: bool, output: str) -> list[tuple[str, Source]]:
    """The photographs of a remote file, folder or pattern.

    As in `listing.search`, hidden files and the output folder are left out, and a result has the
    path that its photograph has below the folder.

    Returns:
      The path of each photograph, and its source, in which `path` names it below that folder.

    Raises:
      UsageError: if there is none.
    """
    if glob.has_magic(given):
        parts = given.split("/")
        fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
        folder, pattern = "/".join(parts[:fixed]), "/".join(parts[fixed:])
        names = {path: posixpath.basename(path) for path in files_below(folder, pattern)}
    elif is_photo(pathlib.Path(given)):
        folder = posixpath.dirname(given)
        names = {given: posixpath.basename(given)} if exists(given) else {}
    else:
        folder = given.rstrip("/")
        found = files_below(folder, "**" if recursive else "*")
        names = {path: path[len(folder) + 1 :] for path in found}
    inside = output.rstrip("/") + "/"
    sources = [
        (path, Source(pathlib.Path(name), pathlib.Path(name)))
        for path, name in names.items()
        if is_photo(pathlib.Path(path))
        and not path.startswith(inside)
        and not any(hidden(part) for part in path[len(folder) :].split("/"))
    ]
    if not sources:
        raise UsageError(f"{given}: no photographs there")
    return sources
