"""What every program shares: exit codes and errors in one line."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from absl import app, flags, logging

from deblur_tf.base import quiet
from deblur_tf.base.errors import FAILED, INTERRUPTED, NO_MODEL, OK, USAGE, Error, UsageError
from deblur_tf.base.locks import hold
from deblur_tf.base.words import printable

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "NO_MODEL",
    "OK",
    "USAGE",
    "UsageError",
    "fail",
    "import_modules",
    "make_folder",
    "modules",
    "refuse_flags",
    "run",
    "value_of",
]

T = TypeVar("T")

_IMPORT = flags.DEFINE_multi_string(
    "import",
    [],
    "Python module with models, metrics or data of your own, by name: of the current folder, or "
    "installed. Repeatable.",
)


def modules() -> list[str]:
    """The modules that --import names."""
    return list(_IMPORT.value)


def import_modules() -> None:
    """Imports what --import names, so that model folders and gin files may name its classes.

    Raises:
      UsageError: naming a module that there is not.
    """
    if _IMPORT.value and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # last: no file of the user's hides a package
    for name in _IMPORT.value:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name.split(".")[0]:
                raise  # something that the module itself imports
            raise UsageError(
                f"--import={name}: no such module in {os.getcwd()}, and none is installed"
            ) from error


def value_of(flag: flags.FlagHolder[T | None]) -> T:
    """The value of a flag.

    Raises:
      UsageError: if it is not given.
    """
    if flag.value is None:
        raise UsageError(f"--{flag.name} is missing")
    return flag.value


def fail(message: object, code: int) -> int:
    """Prints an error line and returns the exit code."""
    print(f"error: {printable(message)}", file=sys.stderr)
    return code


def refuse_flags(command: str, of: Mapping[str, Sequence[str]]) -> None:
    """Refuses flags of other commands, which would silently have no effect.

    Args:
      command: the command that was given; one that is not in `of` is not checked.
      of: the flags of each command, except for those that all commands have.

    Raises:
      UsageError: if a flag does not belong to the command; the message names it.
    """
    for name in sorted({name for names in of.values() for name in names}):
        if command in of and name not in of[command] and flags.FLAGS[name].present:
            raise UsageError(f"--{name} is not of {command}")


def make_folder(path: str, alone: bool = False) -> None:
    """Makes an output folder, before work starts.

    Args:
      path: path of the folder.
      alone: whether no other process may write there until this one ends.

    Raises:
      UsageError: if it cannot be made or written to, or another process is writing there.
    """
    try:
        os.makedirs(path, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UsageError(f"{path}: cannot be written to ({error.strerror or error})") from error
    if alone:
        hold(path)


def run(
    main: Callable[[Sequence[str]], int],
    usage: str | None,
    max_arguments: int = 0,
    headings: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Parses flags and runs `main`, turning known errors into exit codes.

    `main` imports what it needs: `--help` must not wait for TensorFlow.

    Args:
      main: takes the arguments left by flag parsing, returns an exit code.
      usage: what `--help` says above the flags.
      max_arguments: how many arguments may be given besides flags.
      headings: names of flags by the heading under which `--help` lists them, in this order; the
        others come last.
    """
    quiet.start()
    # TensorFlow turns these kernels on by itself only where there is AVX-512 VNNI.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if "--version" in sys.argv[1:]:
        from deblur_tf import __version__

        print(__version__)
        sys.exit(OK)
    if {"-h", "-help", "--help"} & set(sys.argv[1:]):
        try:
            print(
                f"{usage}\nflags:\n{_describe_flags(main.__module__, headings or {})}", flush=True
            )
        except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(OK)

    # Problems of image files that matter are reported as notes or errors of this package.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # file names may hold any bytes
            stream.reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]

    def guarded(argv: Sequence[str]) -> int:
        backend = os.environ.get("KERAS_BACKEND", "tensorflow")
        if backend not in ("tensorflow", "jax"):
            return fail(f"KERAS_BACKEND={backend}: there are tensorflow and jax here", USAGE)
        if len(argv) > 1 + max_arguments:
            unexpected = argv[1 + max_arguments]
            return fail(f"unexpected argument {unexpected!r}; see --help", USAGE)
        logging.set_verbosity(logging.ERROR)  # libraries log too much
        try:
            return main(argv)
        except Error as error:
            return fail(error, error.exit_code)
        except KeyboardInterrupt:
            return fail("interrupted", INTERRUPTED)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return fail(f"{error.strerror}: make room and give the same command again", FAILED)
            if error.filename is None:
                raise
            return fail(f"{error.filename}: {error.strerror}", FAILED)
        except ModuleNotFoundError as error:
            if (error.name or "deblur_tf").startswith("deblur_tf"):
                raise
            return fail(_missing(str(error.name)), USAGE)

    app.run(guarded, flags_parser=_parse_flags)


def _missing(module: str) -> str:
    """What to do where a package cannot be imported."""
    package = module.split(".")[0]
    remedy = f"pip install {package.replace('_', '-')}"
    if package == "tensorflow":
        remedy += ", or set KERAS_BACKEND=jax for what runs without it"
    return f"the package {package} is not installed; {remedy}"


def _describe_flags(module: str, headings: Mapping[str, Sequence[str]]) -> str:
    """The flags that a program defines, one paragraph each, under their headings."""
    name = sys.argv[0] if module == "__main__" else module
    known = {flag.name: flag for flag in flags.FLAGS.get_key_flags_for_module(name)}
    named = {flag for names in headings.values() for flag in names}
    groups = {**headings, "Others" if headings else "": [n for n in known if n not in named]}
    lines = []
    for heading, names in groups.items():
        lines += [f"\n{heading}:"] if heading and names else []
        for flag in (known[n] for n in names):
            short = f"-{flag.short_name}, " if flag.short_name else ""
            default = "" if flag.default in (None, False, []) else f" (default: {flag.default})"
            lines.append(f"  {short}--{flag.name}{default}\n      {flag.help}")
    return "\n".join(lines)


def _parse_flags(argv: Sequence[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        sys.exit(fail(f"{error}; see --help", USAGE))
