"""One writer for a folder at a time."""

from __future__ import annotations

import contextlib
import datetime
import os
import pathlib
import socket
from collections.abc import Iterator

from deblur_tf.base.errors import LockedError


def hold(folder: str | os.PathLike[str]) -> None:
    """Like `locked`, until this process ends."""
    _held.enter_context(locked(folder))


_held = contextlib.ExitStack()


@contextlib.contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Keeps other processes that lock the folder from writing there, as long as the block runs.

    The system releases the lock of a process that is gone, however it ended. Where the system or
    the file system knows no locks, nothing is locked.

    Args:
      folder: an existing folder.

    Raises:
      LockedError: if another process has locked it, naming the process.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LockedError(
                    f"{folder}: {holder(descriptor)} is writing there; wait for it, or give "
                    "another folder"
                ) from None
        yield
    finally:
        os.close(descriptor)


def holder(descriptor: int) -> str:
    """The process that has locked an open file, in words, as far as the system tells."""
    about = os.fstat(descriptor)
    place = f"{os.major(about.st_dev):02x}:{os.minor(about.st_dev):02x}:{about.st_ino}"
    with contextlib.suppress(OSError, ValueError):
        for line in pathlib.Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if fields[1] == "FLOCK" and fields[5] == place and "->" not in fields:
                return _process(int(fields[4]))
    return "another process"


def _process(pid: int) -> str:
    import psutil

    try:
        process = psutil.Process(pid)
        started = datetime.datetime.fromtimestamp(process.create_time())
        since = f" ({process.name()}, since {started:%Y-%m-%d %H:%M:%S})"
    except psutil.Error:
        since = ""
    return f"process {pid} on {socket.gethostname()}{since}"
