"""Kills a training run at random moments until it has survived them all.

  python -m tests.support.kill_case RUN_DIR KILLS SEED

Each life of the run is a process, forked before TensorFlow is used, that gets
SIGKILL after a random time. Prints what happened, and the largest difference of
the final state to that of a run that was left alone.
"""

import os
import pathlib
import random
import signal
import sys
import time

import numpy as np
import tensorflow as tf

from deblur_tf.storage.arrays import read_npz
from deblur_tf.storage.checkpoints import Checkpoints
from deblur_tf.training import loop
from deblur_tf.training.steppers import make_stepper
from tests.support.training_case import recipe

KEEP = 2
ENDLESS = 100_000  # steps: no machine is done before it is killed


def live(run_dir, steps):
    """One life: trains from wherever the run is."""
    tf.config.run_functions_eagerly(True)  # tracing would take most of a short life
    made = recipe(
        total_steps=steps,
        checkpoint_every=1,
        keep_checkpoints=KEEP,
        validate_every=2,
        log_every=ENDLESS,
    )

    def validate(weights):
        # Goes up and down, so that only some states are the best so far.
        total = sum(float(np.abs(w).sum()) for w in weights.values())
        return {loop.SCORE: np.sin(1000 * total)}, np.zeros((8, 8, 3), np.uint8)

    loop.train(made, make_stepper(made), made.pairs(), run_dir, validate)


def start(run_dir, steps):
    pid = os.fork()
    if pid == 0:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        code = 1
        try:
            live(run_dir, steps)
            code = 0
        finally:
            os._exit(code)
    return pid


def check(run_dir):
    """Nothing in the run directory may be half-written; returns the newest step."""
    checkpoints = Checkpoints(run_dir)
    files = checkpoints.all()
    # One more if the kill fell between writing a file and deleting the oldest.
    assert len(files) <= KEEP + 1, files
    for path in files:
        assert int(read_npz(path)["step"]) == int(path.stem.split("_")[1])
    if checkpoints.best.exists():
        assert "score" in read_npz(checkpoints.best)
    return int(files[-1].stem.split("_")[1]) if files else 0


def main(root, kills, seed):
    root, rng = pathlib.Path(root), random.Random(int(seed))
    kills, run_dir, reached = int(kills), root / "killed", []
    while len(reached) < kills:
        pid = start(run_dir, ENDLESS)
        time.sleep(rng.uniform(0.2, 2.5))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status):
            break  # it had failed
        reached.append(check(run_dir))
    steps = max(reached, default=0) + 2
    for name in ("killed", "whole"):
        _, status = os.waitpid(start(root / name, steps), 0)
        assert status == 0, f"the run {name} failed"
    worst = 0.0
    for file in ("best.npz", f"step_{steps:08d}.npz"):
        a, b = (read_npz(root / name / "checkpoints" / file) for name in ("killed", "whole"))
        assert a.keys() == b.keys()
        worst = max(worst, *(float(np.abs(a[n] - b[n]).max()) for n in a))
    names = sorted(p.name for p in (run_dir / "checkpoints").iterdir())
    print(f"steps reached at each kill: {reached}; files at the end: {names}")
    print(f"{len(reached)} kills survived of {kills}; largest difference {worst}")
    return 0 if len(reached) == kills and worst == 0.0 and len(names) == KEEP + 1 else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
