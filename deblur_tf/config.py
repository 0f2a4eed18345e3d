"""Strict gin configuration: loads files and overrides, and refuses unknown names."""

from __future__ import annotations

import difflib
import inspect
import pathlib
import re
import sys
from collections.abc import Sequence
from importlib import resources
from typing import Any

import gin

from deblur_tf.base.bindings import all_bindings, construction_errors
from deblur_tf.base.errors import ConfigError

# Current names of configurables by their names in earlier versions.
RENAMED = {
    "L2Objective": "PredictionObjective",
    "Once": "StepIndependentPredictor",
    "FilterObjective": "WindowObjective",
    "BlurStatistics": "WindowSpectra",
}

_MACRO = re.compile(r"%(\w+)")  # where a macro is read
_SETTING = re.compile(r"^(\w+) *=", re.MULTILINE)  # where one is set
_INCLUDE = re.compile(r'^include "(.+)"$', re.MULTILINE)


def config_dir() -> pathlib.Path:
    """The folder of the gin files that come with the package."""
    return pathlib.Path(str(resources.files("deblur_tf.gin_configs")))


def find_gin_file(name: str) -> pathlib.Path:
    """A gin file by path, or by its name inside the packaged `gin_configs`.

    Raises:
      ConfigError: if there is no such file; the message lists the packaged ones.
    """
    for path in (pathlib.Path(name), config_dir() / name):
        if path.is_file():
            return path
    root = config_dir()
    known = sorted(str(p.relative_to(root)) for p in root.rglob("*.gin"))
    raise ConfigError(f"no gin file {name!r}; the package has: {', '.join(known)}")


def load(gin_files: Sequence[str], overrides: Sequence[str] = ()) -> None:
    """Replaces the gin configuration: reads files, then applies single bindings.

    Unknown names are errors. Includes are looked up in the packaged `gin_configs`, then
    beside the file that includes them.

    Args:
      gin_files: paths or packaged names; later files win.
      overrides: bindings such as "BATCH_SIZE = 8".

    Raises:
      ConfigError: for a missing file, bad syntax or an unknown name.
    """
    from deblur_tf import names  # noqa: F401

    gin.clear_config()
    read = {name for text in overrides for name in _MACRO.findall(text)}
    for name in gin_files:
        read |= _parse(find_gin_file(name))
    try:
        gin.parse_config_files_and_bindings([], list(overrides))
    except (ValueError, SyntaxError, AttributeError) as error:
        raise ConfigError(f"bad configuration: {error}{_renamed(error)}") from error
    _refuse_unread_macros(read)


def check_files(gin_files: Sequence[str], overrides: Sequence[str] = ()) -> None:
    """Finds missing files and misspelt macros without Keras, whose import takes seconds.

    Raises:
      ConfigError: for a missing file, or a macro that nothing reads.
    """
    texts = [text for name in gin_files for text in _texts(find_gin_file(name))]
    whole = "\n".join([*texts, *overrides])
    _refuse_unread(set(_SETTING.findall(whole)), set(_MACRO.findall(whole)))


def _texts(path: pathlib.Path) -> list[str]:
    """The text of a file and of the files that it includes."""
    text = path.read_text(encoding="utf-8")
    found = [text]
    for name in _INCLUDE.findall(text):
        found += _texts(_included(name, path))
    return found


def _included(name: str, by: pathlib.Path) -> pathlib.Path:
    """The file that another one includes: a packaged one, or one beside it."""
    beside = (config_dir() / name, by.parent / name)
    return next((path for path in beside if path.is_file()), None) or find_gin_file(name)


def _renamed(error: Exception) -> str:
    """End of an error message that gives the new name of a renamed configurable, or ""."""
    for old, new in RENAMED.items():
        if re.search(rf"\b{old}\b", str(error)):
            return f" ({old} is called {new} now)"
    return ""


def _parse(path: pathlib.Path) -> set[str]:
    """Parses a file and, where they occur, its includes; returns the macros that they read.

    Gin's own include also searches Python's modules, where it would find a user's folder
    called `data` or `models` instead.
    """
    if not path.is_relative_to(config_dir()) and str(path.parent.resolve()) not in sys.path:
        # Modules beside the file can be imported by it, but hide none that is installed.
        sys.path.append(str(path.parent.resolve()))
    read: set[str] = set()
    parts = _INCLUDE.split(path.read_text(encoding="utf-8"))
    for i, part in enumerate(parts):
        if i % 2:
            read |= _parse(_included(part, path))
            continue
        read |= set(_MACRO.findall(part))
        try:
            gin.parse_config(part)
        except (ValueError, SyntaxError, AttributeError) as error:
            raise ConfigError(f"bad configuration: {path}: {error}{_renamed(error)}") from error
    return read


def _refuse_unread_macros(read: set[str]) -> None:
    """Refuses macros that nothing reads: a misspelt one would silently have no effect.

    Raises:
      ConfigError: if no file reads a macro; the message names it and a similar name.
    """
    _refuse_unread(set(_SETTING.findall(all_bindings())), read)


def _refuse_unread(macros: set[str], read: set[str]) -> None:
    for name in sorted(macros - read):
        near = difflib.get_close_matches(name, read, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(read))}"
        raise ConfigError(f"bad configuration: nothing reads {name}; {hint}")


def build(name: str) -> Any:
    """Constructs the registered class or function `name` as configured."""
    with construction_errors():
        return gin.get_configurable(name)()


def registered(name: str) -> Any:
    """The class or function that gin files call `name`, for its attributes."""
    return inspect.unwrap(gin.get_configurable(name))


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
