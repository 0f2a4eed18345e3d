"""Errors that a user can cause, each with the exit code that a program ends with.

Their messages say in one line which file, flag or value is at fault and what to do.
"""

from __future__ import annotations

# Exit codes of the programs.
OK, FAILED, USAGE, NO_MODEL, UNFINISHED, INTERRUPTED = 0, 1, 2, 3, 75, 130


class Error(Exception):
    """Base class of user errors; any other exception is a bug and shows its traceback."""

    exit_code = FAILED


class UsageError(Error, ValueError):
    """A flag or argument that cannot be used."""

    exit_code = USAGE


class ConfigError(Error, ValueError):
    """A configuration that cannot be used."""

    exit_code = USAGE


class DataError(Error, ValueError):
    """Input data that cannot be used."""

    exit_code = USAGE


class UnfinishedError(Error, RuntimeError):
    """The rest of the work needs what other processes have not finished yet."""

    exit_code = UNFINISHED


class LockedError(UsageError):
    """A folder that another process is writing into."""


class UnavailableError(Error, RuntimeError):
    """A metric lacks a file of weights or a package."""

    exit_code = USAGE


class DeviceError(Error, RuntimeError):
    """Requested devices that are not available."""

    exit_code = USAGE


class ModelError(Error, RuntimeError):
    """A model that cannot be loaded."""

    exit_code = NO_MODEL


class CheckpointError(Error, RuntimeError):
    """A checkpoint that cannot be read or does not fit the model."""

    exit_code = NO_MODEL


class SaveError(Error, RuntimeError):
    """A file could not be written; files written before it are complete."""


class NonFiniteError(Error, RuntimeError):
    """A loss or a picture became NaN or infinite."""


class WorkerError(Error, RuntimeError):
    """Another process of a training run has ended unexpectedly."""
