"""Runs the programs as a user would, without waiting for libraries each time.

A helper process imports TensorFlow and the package once and uses neither; each program
runs in a fork of it, with its own arguments, folder, environment and streams. What a program
does before it imports anything is tested in processes of its own, see test_hostile.py.
"""

import atexit
import importlib
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import time

_helper = None


def _ask(**request):
    """The helper's answer to one request."""
    global _helper
    if _helper is None:
        _helper = subprocess.Popen(
            [sys.executable, "-m", "tests.support.programs"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        atexit.register(_helper.kill)
    _helper.stdin.write(json.dumps(request) + "\n")
    _helper.stdin.flush()
    return json.loads(_helper.stdout.readline())


class Program:
    """A program that runs; see `start`."""

    def __init__(self, pid, out, err):
        self.pid, self.out, self.err = pid, out, err

    def send_signal(self, number):
        os.kill(self.pid, number)

    def wait(self, seconds=300):
        """The exit code; the negative signal that ended it."""
        deadline = time.monotonic() + seconds
        while (code := _ask(poll=self.pid)) is None:
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                raise TimeoutError(self.out.read_text() + self.err.read_text())
            time.sleep(0.02)
        return code

    def wait_for(self, text, seconds=300):
        """Waits until it has printed something."""
        deadline = time.monotonic() + seconds
        while text not in self.out.read_text():
            if time.monotonic() > deadline:
                raise TimeoutError(self.out.read_text() + self.err.read_text())
            time.sleep(0.02)


def start(program, *arguments, streams, cwd=None, env=None, eager=False, file_limit=None, first=""):
    """A `Program`.

    Args:
      program: a module of deblur_tf.bin or, with a dot in its name, any with an `entry`.
      streams: two files for what it prints.
      env: what it has in its environment beside this process's.
      eager: whether TensorFlow traces nothing, which takes longer than a few small steps.
      file_limit: bytes a file may have.
      first: code that runs before.
    """
    argv = [program, *map(str, arguments)]
    streams = [str(path) for path in streams]
    pid = _ask(
        argv=argv,
        cwd=str(cwd or os.getcwd()),
        streams=streams,
        env=env or {},
        eager=eager,
        file_limit=file_limit,
        first=first,
    )
    return Program(pid, *map(pathlib.Path, streams))


def run(program, *arguments, **settings):
    """subprocess.CompletedProcess of a program; settings as for `start`."""
    with tempfile.TemporaryDirectory() as folder:
        streams = [pathlib.Path(folder, name) for name in ("out", "err")]
        started = start(program, *arguments, streams=streams, **settings)
        code = started.wait()
        out, err = (path.read_text(encoding="utf-8") for path in streams)
    return subprocess.CompletedProcess([program, *map(str, arguments)], code, out, err)


def serve():
    """The helper: a request a line in, an answer a line out."""
    answers = os.dup(1)
    os.dup2(2, 1)  # libraries may print
    for name in ("tensorflow", "keras", "tensorflow_datasets", "deblur_tf.names", "PIL.Image"):
        importlib.import_module(name)
    for name in ("inference.deblurrer", "training.run", "evaluation.runner", "serving.export"):
        importlib.import_module(f"deblur_tf.{name}")
    for line in sys.stdin:
        request = json.loads(line)
        if "poll" in request:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            for path in request["streams"]:
                pathlib.Path(path).touch()
            answer = os.fork()
            if answer == 0:
                child(request)
        os.write(answers, (json.dumps(answer) + "\n").encode())


def child(request):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, path in zip((1, 2), request["streams"], strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)
    os.chdir(request["cwd"])
    os.environ.update(request["env"])
    if request["file_limit"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_limit"],) * 2)
    sys.argv = request["argv"]
    sys.stdin = open(os.devnull)
    name = sys.argv[0] if "." in sys.argv[0] else f"deblur_tf.bin.{sys.argv[0]}"
    code = 1
    try:
        if request["eager"]:
            sys.modules["tensorflow"].config.run_functions_eagerly(True)
        exec(request["first"], globals())
        importlib.import_module(name).entry()
        code = 0
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
        code = code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
