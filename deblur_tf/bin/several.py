"""Runs a program as several processes, each of which does its part of the work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO

from deblur_tf.base.errors import FAILED, OK, UNFINISHED, UsageError

# A second round measures what a first one has chosen.
ROUNDS = 2


def wanted(devices: str) -> bool:
    """Whether a value of --devices asks for more than one process.

    Raises:
      UsageError: if it is neither a positive number nor "all".
    """
    if devices == "all":
        return True
    if not devices.isdecimal() or int(devices) < 1:
        raise UsageError(f"--devices={devices}: give a number of processes, or all")
    return int(devices) > 1


def gpus() -> list[str]:
    """Numbers of the NVIDIA GPUs that this process may use."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [x for x in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if x not in ("", "-1")]
    try:
        found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return [str(i) for i, line in enumerate(found.stdout.splitlines()) if line.startswith("GPU")]


def run(module: str, devices: str) -> int:
    """Runs a program's own command line in several processes, with a --shard for each.

    Each process has a GPU of its own; without GPUs, its share of the CPU's cores. Their lines are
    printed with the number of the part before them. A process that ends with `UNFINISHED` is
    started once more when all others have ended.

    Args:
      module: the program's module.
      devices: value of --devices: a number of processes, or "all".

    Returns:
      The exit code of the first process that failed, or 0.
    """
    # The processes must not outlive this one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    own = gpus()
    count = max(len(own), 1) if devices == "all" else int(devices)
    arguments = _without(sys.argv[1:], "devices")
    codes: list[int] = []
    for _ in range(ROUNDS):
        codes = _round(module, arguments, own, count)
        if set(codes) - {OK, UNFINISHED} or UNFINISHED not in codes:
            break
    return next((code for code in codes if code), OK)


def _round(module: str, arguments: Sequence[str], own: Sequence[str], count: int) -> list[int]:
    """Runs each part once; returns their exit codes."""
    said: set[str] = set()
    processes, threads = [], []
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    try:
        for i in range(count):
            environment = dict(os.environ)
            if own:
                environment["CUDA_VISIBLE_DEVICES"] = own[i % len(own)]
            elif cores:  # inherited by the process that is started next
                os.sched_setaffinity(0, cores[i::count] or cores)
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments, f"--shard={i + 1}/{count}"],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
            processes.append(process)
            label = f"[{i + 1}/{count}] "
            for stream, target in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
                once = said if target is sys.stderr else None
                thread = threading.Thread(target=_pass_on, args=(stream, target, label, once))
                thread.start()
                threads.append(thread)
        return [FAILED if code < 0 else code for code in (p.wait() for p in processes)]
    finally:
        if cores:
            os.sched_setaffinity(0, cores)
        for process in processes:
            if process.poll() is None:
                process.terminate()
        for process in processes:
            process.wait()
        for thread in threads:
            thread.join()


def _pass_on(stream: IO[str], target: IO[str], label: str, once: set[str] | None) -> None:
    """Prints the lines of a process; with `once`, those that no other has printed."""
    for line in stream:
        if once is not None:
            if line in once:
                continue
            once.add(line)
        print(f"{label}{line}", end="", file=target, flush=True)


def _without(arguments: Sequence[str], flag: str) -> list[str]:
    """Command-line arguments without a flag that takes a value."""
    found, skip = [], False
    for argument in arguments:
        name, equals, _ = argument.lstrip("-").partition("=")
        if skip:
            skip = False
        elif argument.startswith("-") and name == flag:
            skip = not equals
        else:
            found.append(argument)
    return found
