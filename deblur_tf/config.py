"""Strict gin configuration: what a program is told, and a record of it."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import pathlib
import re
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any

import gin

from deblur_tf.errors import ConfigError

# Imported before the first file is read: whatever registers a name for gin.
NAMES = "deblur_tf.names"

_MACRO = re.compile(r"%(\w+)")


def config_dir() -> pathlib.Path:
    """The folder of the gin files that come with the package."""
    return pathlib.Path(str(resources.files("deblur_tf.gin_configs")))


def find_gin_file(name: str) -> pathlib.Path:
    """A gin file by path, or by its name inside the packaged `gin_configs`.

    Raises:
      ConfigError: listing the packaged files, if there is no such file.
    """
    for path in (pathlib.Path(name), config_dir() / name):
        if path.is_file():
            return path
    root = config_dir()
    known = sorted(str(p.relative_to(root)) for p in root.rglob("*.gin"))
    raise ConfigError(f"no gin file {name!r}; the package has: {', '.join(known)}")


def load(gin_files: Sequence[str], overrides: Sequence[str] = ()) -> None:
    """Replaces the gin configuration by files, then by single bindings.

    Unknown names are errors. Includes are found beside the packaged files.

    Args:
      gin_files: paths or packaged names, later ones win.
      overrides: bindings such as "BATCH_SIZE = 8".

    Raises:
      ConfigError: for a missing file, bad syntax or an unknown name.
    """
    importlib.import_module(NAMES)
    gin.clear_config()
    read = {name for text in overrides for name in _MACRO.findall(text)}
    for name in gin_files:
        read |= _parse(find_gin_file(name))
    try:
        gin.parse_config_files_and_bindings([], list(overrides))
    except (ValueError, SyntaxError, AttributeError) as error:
        raise ConfigError(f"bad configuration: {error}") from error
    _refuse_unread_macros(read)


def _parse(path: pathlib.Path) -> set[str]:
    """Parses a file, its includes where they stand; returns the macros it reads.

    Gin's own includes are also sought among Python's modules, where a folder of the
    user's called `data` or `models` is in the way.
    """
    read: set[str] = set()
    parts = re.split(r'^include "(.+)"$', path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for i, part in enumerate(parts):
        if i % 2:
            beside = (config_dir() / part, path.parent / part)
            found = next((p for p in beside if p.is_file()), None)
            read |= _parse(found or find_gin_file(part))
            continue
        read |= set(_MACRO.findall(part))
        try:
            gin.parse_config(part)
        except (ValueError, SyntaxError, AttributeError) as error:
            raise ConfigError(f"bad configuration: {path}: {error}") from error
    return read


def _refuse_unread_macros(read: set[str]) -> None:
    """A misspelt knob would change nothing, without a word.

    Raises:
      ConfigError: naming a macro that no file reads, and those of a like name.
    """
    macros = set(re.findall(r"^(\w+) = ", bindings(), re.MULTILINE))
    for name in sorted(macros - read):
        near = difflib.get_close_matches(name, read, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(read))}"
        raise ConfigError(f"bad configuration: nothing reads {name}; {hint}")


@contextlib.contextmanager
def errors() -> Iterator[None]:
    """Within, an error of construction is one of the configuration.

    Raises:
      ConfigError: if a value has the wrong type, is missing or is refused.
    """
    try:
        yield
    except (TypeError, ValueError, RuntimeError) as error:
        # Without gin's list of the calls that led there.
        message = str(error).split("\n  In call to configurable")[0]
        raise ConfigError(f"bad configuration: {message}") from error


def build(name: str) -> Any:
    """Constructs the registered class or function `name` as configured."""
    with errors():
        return gin.get_configurable(name)()


def reference(parameter: str) -> str:
    """Name of what a parameter is bound to, e.g. "PairGenerator".

    Raises:
      ConfigError: if it is not bound to a configurable.
    """
    try:
        found = gin.query_parameter(parameter)
        while found.selector == "gin.macro":
            found = gin.query_parameter(f"{found.config_key[0]}/gin.macro.value")
        return found.selector.rsplit(".", 1)[-1]
    except (ValueError, AttributeError) as error:
        raise ConfigError(f"{parameter} is not set in the gin file, or not to an @name") from error


def bindings() -> str:
    """All bindings of files and overrides, used or not, as gin text."""
    return gin.config_str()


def operative() -> str:
    """All bindings that have been used so far, as gin text."""
    return gin.operative_config_str()


def parsed(text: str) -> dict[str, str]:
    """The bindings of gin text as gin prints it: values as text, by name."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        if line[0].isspace():  # of the binding before
            found[name] += line.strip()
        else:
            name, _, value = line.partition(" = ")
            found[name] = value.rstrip("\\")
    return found
