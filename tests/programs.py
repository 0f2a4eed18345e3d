"""Runs the programs as a user would, without waiting for libraries each time.

A helper process imports TensorFlow and the package once and uses neither; each program
runs in a fork of it, with its own arguments, folder and streams. What a program does
before it imports anything is tested in processes of its own, see test_hostile.py.
"""

import atexit
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile

_helper = None


def run(program, *arguments, cwd=None):
    """subprocess.CompletedProcess of a program of deblur_tf.bin."""
    global _helper
    if _helper is None:
        _helper = subprocess.Popen(
            [sys.executable, "-m", "tests.programs"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        atexit.register(_helper.kill)
    argv = [program, *map(str, arguments)]
    with tempfile.TemporaryDirectory() as folder:
        streams = [os.path.join(folder, name) for name in ("out", "err")]
        request = {"argv": argv, "cwd": str(cwd or os.getcwd()), "streams": streams}
        _helper.stdin.write(json.dumps(request) + "\n")
        _helper.stdin.flush()
        code = int(_helper.stdout.readline())
        out, err = (open(path, encoding="utf-8").read() for path in streams)
    return subprocess.CompletedProcess(argv, code, out, err)


def serve():
    """The helper: a request a line in, an exit code a line out."""
    answers = os.dup(1)
    os.dup2(2, 1)  # libraries may print
    for name in ("tensorflow", "keras", "tensorflow_datasets", "deblur_tf.names", "PIL.Image"):
        importlib.import_module(name)
    for name in ("inference.deblurrer", "training.run", "evaluation.runner", "serving.export"):
        importlib.import_module(f"deblur_tf.{name}")
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            child(request)
        _, status = os.waitpid(pid, 0)
        os.write(answers, f"{os.waitstatus_to_exitcode(status)}\n".encode())


def child(request):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, path in zip((1, 2), request["streams"], strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(request["cwd"])
    sys.argv = request["argv"]
    sys.stdin = open(os.devnull)
    code = 1
    try:
        importlib.import_module(f"deblur_tf.bin.{sys.argv[0]}").entry()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
