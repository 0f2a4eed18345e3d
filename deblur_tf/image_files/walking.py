"""Walks through folders, links to folders included."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterator


def walk(
    root: str | os.PathLike[str], onerror: Callable[[OSError], None] | None = None
) -> Iterator[tuple[pathlib.Path, list[str], list[str]]]:
    """`os.walk` that follows links, and enters no folder that it is in already.

    Hidden folders and files are left out, as are those that macOS adds to archives.

    Args:
      root: the folder to begin with.
      onerror: called with the error of a folder that cannot be listed.

    Yields:
      Each folder with the names of its folders, which may be removed from the list so that they are
      not entered, and of its files, both sorted.
    """
    for folder, names, files in os.walk(root, followlinks=True, onerror=onerror):
        here = pathlib.Path(folder)
        above = {os.path.realpath(parent) for parent in (here, *here.parents)}
        names[:] = sorted(
            name
            for name in names
            if not hidden(name) and os.path.realpath(here / name) not in above
        )
        yield here, names, sorted(name for name in files if not hidden(name))


def hidden(name: str) -> bool:
    """Whether a file or folder of that name is hidden, or was added by macOS."""
    return name.startswith((".", "__MACOSX"))
