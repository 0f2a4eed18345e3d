r"""Start-up time and time per step of a training, measured in whole processes.

  python benchmarks/start.py                       # start-up, CPU time a step, oneDNN on and off
  KERAS_BACKEND=jax python benchmarks/start.py     # the same on JAX

Each case runs in a process of its own. Printed are the seconds from the end of the imports until
the networks are built and until the first step is done, then wall and CPU time per step.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence

from absl import app, flags

_GIN_FILE = flags.DEFINE_string("gin_file", "smoke.gin", "Gin file of the training.")
_GIN_PARAM = flags.DEFINE_multi_string("gin_param", [], "Overrides of settings.")
_STEPS = flags.DEFINE_integer("steps", 20, "Steps to time.")
_CASE = flags.DEFINE_string("case", None, "Run one case in this process: host or device pairs.")


def one(pairs: str) -> None:
    import numpy as np

    from deblur_tf import config
    from deblur_tf.training.steppers import make_stepper

    begin = time.perf_counter()
    overrides = list(_GIN_PARAM.value)
    if pairs == "device":
        overrides += [
            "Recipe.pairs = @DevicePairs",
        ]
    config.load([_GIN_FILE.value], overrides)
    recipe = config.build("Recipe")
    stepper = make_stepper(recipe)
    built = time.perf_counter() - begin
    batches, step = stepper.batches(recipe.pairs(), 0), 0

    def call() -> None:
        nonlocal step
        metrics = stepper(next(batches), step)
        step += stepper.steps(step)
        np.asarray(metrics["loss"])

    call()
    first = time.perf_counter() - begin
    call()
    wall, cpu, before = time.perf_counter(), time.process_time(), step
    while step < before + _STEPS.value:
        call()
    done = step - before
    wall, cpu = (time.perf_counter() - wall) / done, (time.process_time() - cpu) / done
    print(f"| {pairs} | {built:.1f} | {first:.1f} | {1e3 * wall:.1f} | {1e3 * cpu:.1f} |")


def main(argv: Sequence[str]) -> None:
    if _CASE.value:
        one(_CASE.value)
        return
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    print("| pairs | built (s) | first step (s) | step (ms) | CPU (ms) |\n|---|---|---|---|---|")
    for pairs in ("host", "device"):
        for onednn in ("0", "1") if backend == "tensorflow" else ("1",):
            env = os.environ | {"TF_ENABLE_ONEDNN_OPTS": onednn, "TF_CPP_MIN_LOG_LEVEL": "3"}
            command = [sys.executable, *argv[:1], f"--case={pairs}", *sys.argv[1:]]
            run = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
            note = f" oneDNN {onednn}" if backend == "tensorflow" else ""
            print(run.stdout.strip() + note, flush=True)


if __name__ == "__main__":
    app.run(main)
