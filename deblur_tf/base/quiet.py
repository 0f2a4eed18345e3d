"""Imports TensorFlow without its start-up messages, which tell a user nothing, and faster."""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from typing import Any

_START_UP = re.compile(
    rb"WARNING: All log messages before absl|[IWE]\d{4} [\d:.]+ +\d+ \S+\.cc:\d+\]"
    rb"|To enable the following instructions"
)
LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
STARTED = "DEBLUR_TF_PROGRAM"  # set in the environment of a program's own processes
# Keras and TensorFlow import these if they are installed, which takes four seconds. No program
# of this package needs what they add.
OPTIONAL = ("pandas", "matplotlib", "jax")
_SLOW = ("keras", "tensorflow")


def start() -> None:
    """For programs: the first import of Keras or TensorFlow is quiet and fast.

    Flag -v=1 leaves the messages. On a terminal a line says what is being loaded. Python processes
    that this one starts and that import the package do the same.
    """
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    of_program = STARTED in os.environ  # which has said what is being loaded
    os.environ[STARTED] = "1"
    verbose = any(re.match(r"--?(v|verbosity)=[1-9]", argument) for argument in sys.argv[1:])
    if not verbose:
        os.environ.setdefault(LOG_LEVEL, "3")
    sys.meta_path.insert(0, _Finder(verbose, tells=not of_program))


@contextlib.contextmanager
def library() -> Iterator[None]:
    """In this context imports of Keras and TensorFlow print no start-up messages.

    Nothing that another library could notice remains changed.
    """
    if "tensorflow" in sys.modules or LOG_LEVEL in os.environ:
        yield
        return
    os.environ[LOG_LEVEL] = "3"
    try:
        with _held_back():
            yield
    finally:
        os.environ.pop(LOG_LEVEL, None)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds Keras or TensorFlow once, as Python would, with a loader that is quiet and fast."""

    def __init__(self, verbose: bool, tells: bool):
        self._verbose, self._tells = verbose, tells

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if name not in _SLOW:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def quickly(module: Any) -> None:
            with contextlib.ExitStack() as stack:
                stack.enter_context(_without_optional())
                if self._tells:
                    stack.enter_context(_said("loading TensorFlow and Keras ..."))
                if not self._verbose:
                    stack.enter_context(_held_back())
                load(module)

        spec.loader.exec_module = quickly  # type: ignore[method-assign]
        return spec


@contextlib.contextmanager
def _without_optional() -> Iterator[None]:
    """In this context `OPTIONAL` packages cannot be imported; afterwards they can."""
    backend = os.environ.get("KERAS_BACKEND")
    hidden = [name for name in OPTIONAL if name not in sys.modules and name != backend]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            if sys.modules.get(name, name) is None:
                del sys.modules[name]


@contextlib.contextmanager
def _said(line: str) -> Iterator[None]:
    """Shows a line on a terminal while this context lasts."""
    if not sys.stderr.isatty():
        yield
        return
    print(line, end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print(f"\r{' ' * len(line)}\r", end="", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """Withholds stderr in this context; its end prints all but start-up messages."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held:
                if not _START_UP.match(line):
                    os.write(2, line)
