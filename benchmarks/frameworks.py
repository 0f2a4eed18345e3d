r"""One network in several frameworks: a training and an inference step, in one table.

  python benchmarks/frameworks.py --ch=16
  python benchmarks/frameworks.py --ch=32 --guide_ch=32

The icDPM network of this package on TensorFlow, on TensorFlow with XLA and on JAX, and the same
network in PyTorch, eager and compiled, both channels_last (`torch_icdpm.py`). Each has a process of
its own and the same threads; processes take turns, and the product of two matrices in NumPy is
timed in each, to tell a slow moment of the machine from a slow framework. Rates are relative to
PyTorch eager; above 1 is faster. A framework that is not installed is left out.
"""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from absl import app, flags

_CH = flags.DEFINE_integer("ch", 16, "UNet base channels.")
_GUIDE_CH = flags.DEFINE_integer("guide_ch", 0, "Guidance base channels; 0: unguided.")
_SIZE = flags.DEFINE_integer("size", 128, "Side of the images in pixels.")
_BATCH = flags.DEFINE_integer("batch", 2, "Images per step.")
_ROUNDS = flags.DEFINE_integer("rounds", 2, "Turns of each framework.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "Timed steps in a turn.")
_ONLY = flags.DEFINE_string("only", None, "Times one framework, and prints JSON.")

FRAMEWORKS = ("torch", "torch compiled", "tensorflow", "tensorflow xla", "jax")
Steps = dict[str, Callable[[], object]]


def ours(xla: bool) -> Steps:
    """The steps of this package, on the backend of this process."""
    import keras
    from keras import ops

    from deblur_tf.base.backend import compiled
    from deblur_tf.data.input.batch import Batch
    from deblur_tf.data.pairs import PairGenerator
    from deblur_tf.models.icdpm import GuidedDiffusion
    from deblur_tf.networks.guidance import MultiscaleGuidance
    from deblur_tf.networks.unet import UNet
    from deblur_tf.training.recipe import Recipe
    from deblur_tf.training.steppers import make_stepper

    guided = bool(_GUIDE_CH.value)

    def build() -> keras.Model:
        return GuidedDiffusion(
            UNet(_CH.value, guided_depths=(1, 2, 3) if guided else ()),
            MultiscaleGuidance(_GUIDE_CH.value) if guided else None,
        )

    stepper = make_stepper(
        Recipe(model=build, pairs=PairGenerator, batch_size=_BATCH.value, jit_compile=xla)
    )
    rng = np.random.default_rng(0)
    shape = (_BATCH.value, _SIZE.value, _SIZE.value, 3)
    batch = Batch(
        ops.convert_to_tensor(rng.integers(0, 256, shape, np.uint8)),
        ops.convert_to_tensor(rng.integers(0, 256, shape, np.uint8)),
        ops.arange(_BATCH.value, dtype="int32"),
    )
    if keras.backend.backend() == "jax":  # steps along a leading axis
        batch = Batch(*(value[None] for value in batch))
    noisy, blurry = (rng.standard_normal(shape, np.float32) for _ in range(2))
    noisy, blurry = ops.convert_to_tensor(noisy), ops.convert_to_tensor(blurry)
    level = ops.full((_BATCH.value,), 0.5)
    forward = compiled(stepper.model, lambda: stepper.model(noisy, level, blurry)["noise"])
    if xla:
        import tensorflow as tf

        forward = tf.function(
            lambda: stepper.model(noisy, level, blurry)["noise"], autograph=False, jit_compile=True
        )
    return {
        "training": lambda: ops.convert_to_numpy(stepper(batch, 0)["loss"]),
        "inference": lambda: ops.convert_to_numpy(forward()),
    }


def pytorch(compile_it: bool) -> Steps:
    """The same steps in PyTorch."""
    import torch

    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    from torch_icdpm import GuidedDiffusion

    plain = GuidedDiffusion(_CH.value, _GUIDE_CH.value).to(memory_format=torch.channels_last)
    model = torch.compile(plain) if compile_it else plain
    optimizer = torch.optim.Adam(plain.parameters(), 1e-4, betas=(0.5, 0.999))
    average = [p.detach().clone() for p in plain.parameters()]
    shape = (_BATCH.value, 3, _SIZE.value, _SIZE.value)
    sharp, blurry = (torch.randn(shape).to(memory_format=torch.channels_last) for _ in range(2))
    level = torch.full((_BATCH.value,), 0.5)

    def train() -> float:
        noise = torch.randn_like(sharp)
        predicted, predictions = model(0.5 * sharp + 0.75**0.5 * noise, level, blurry)
        loss = (predicted - noise).abs().mean() + sum(p.square().mean() for p in predictions)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        torch._foreach_lerp_(average, [p.detach() for p in plain.parameters()], 1e-4)
        return float(loss.detach())

    @torch.inference_mode()
    def infer() -> object:
        return model(sharp, level, blurry)[0].numpy()

    return {"training": train, "inference": infer}


def measured(name: str) -> dict[str, float]:
    """Median seconds of each step, and of a product of matrices, in this process."""
    made = pytorch("compiled" in name) if name.startswith("torch") else ours("xla" in name)
    matrix = np.random.default_rng(0).standard_normal((2048, 2048), np.float32)
    steps = {**made, "matrix product": lambda: matrix @ matrix}
    found = {}
    for kind, step in steps.items():
        step()
        step()
        times = []
        for _ in range(_REPEATS.value):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        found[kind] = statistics.median(times)
    return found


def one_turn(name: str) -> dict[str, float] | None:
    """`measured` in a process of its own; None if the framework is missing or fails."""
    backend = "jax" if name == "jax" else "tensorflow"
    command = [sys.executable, *sys.argv, f"--only={name}"]
    env = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    env["TF_ENABLE_ONEDNN_OPTS"] = "1"  # as the programs do
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode:
        print(f"{name}: left out ({done.stderr.strip().splitlines()[-1][:200]})", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def main(argv: Sequence[str]) -> None:
    del argv
    if _ONLY.value:
        print(json.dumps(measured(_ONLY.value)))
        return
    turns: dict[str, list[Any]] = {name: [] for name in FRAMEWORKS}
    for _ in range(_ROUNDS.value):
        for name, found in turns.items():
            if None not in found:
                found.append(one_turn(name))
    kinds = ("training", "inference", "matrix product")
    seconds = {
        name: {kind: min(turn[kind] for turn in found) for kind in kinds}
        for name, found in turns.items()
        if found and None not in found
    }
    print(f"{_CH.value} channels, guidance {_GUIDE_CH.value}, {_BATCH.value} x {_SIZE.value}px")
    print("| framework | training (s) | relative | inference (s) | relative | matrix product (s) |")
    print("|---|---|---|---|---|---|")
    first = seconds.get("torch")
    for name, found in seconds.items():
        cells = []
        for kind in ("training", "inference"):
            ratio = "" if first is None else f"{first[kind] / found[kind]:.2f}"
            cells += [f"{found[kind]:.3f}", ratio]
        print(f"| {name} | {' | '.join(cells)} | {found['matrix product']:.3f} |")


if __name__ == "__main__":
    app.run(main)
