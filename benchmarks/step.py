r"""Times a training step and an inference step, as ratios within one process.

  python benchmarks/step.py --ch=32 --guide_ch=32 --torch

GFLOP/s counts convolutions and dense layers, 2 per multiply-add; a training
step counts three forward passes. "of sgemm" is the ratio of GFLOP/s to that of a float32
matrix product measured in the same process, and "torch / ours" compares with
the same network in PyTorch (eager, channels_last), measured in turns.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable, Sequence

from absl import app, flags
from timing import median_times

_CH = flags.DEFINE_integer("ch", 16, "UNet base channels.")
_GUIDE_CH = flags.DEFINE_integer("guide_ch", 0, "Guidance base channels; 0: unguided.")
_SIZE = flags.DEFINE_integer("size", 128, "Side of the images in pixels.")
_BATCH = flags.DEFINE_integer("batch", 2, "Images per step.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "Timed repeats; the median is printed.")
_JIT = flags.DEFINE_bool("jit", False, "Compile our steps with XLA.")
_TORCH = flags.DEFINE_bool("torch", False, "Also time the same network in PyTorch.")


def our_steps() -> tuple[dict[str, Callable[[], object]], int]:
    import keras
    import numpy as np
    import tensorflow as tf

    from deblur_tf.data.pairs import PairGenerator
    from deblur_tf.models.flops import count_flops
    from deblur_tf.models.icdpm import GuidedDiffusion
    from deblur_tf.networks.guidance import MultiscaleGuidance
    from deblur_tf.networks.unet import UNet
    from deblur_tf.training.recipe import Recipe
    from deblur_tf.training.steppers import TensorFlowStepper

    guided = bool(_GUIDE_CH.value)

    def build() -> keras.Model:
        return GuidedDiffusion(
            UNet(_CH.value, guided_depths=(1, 2, 3) if guided else ()),
            MultiscaleGuidance(_GUIDE_CH.value) if guided else None,
        )

    recipe = Recipe(
        model=build,
        pairs=PairGenerator,
        batch_size=_BATCH.value,
        jit_compile=_JIT.value,
    )
    stepper = TensorFlowStepper(recipe)
    rng = np.random.default_rng(0)
    shape = (_BATCH.value, _SIZE.value, _SIZE.value, 3)
    batch = {
        "blurry": tf.constant(rng.integers(0, 256, shape, np.uint8)),
        "sharp": tf.constant(rng.integers(0, 256, shape, np.uint8)),
        "item": tf.range(_BATCH.value),
    }
    images = [tf.constant(rng.standard_normal(shape, np.float32)) for _ in range(2)]
    level = tf.fill([_BATCH.value], 0.5)
    forward = tf.function(
        lambda: stepper.model(images[0], level, images[1])["noise"],
        autograph=False,
        jit_compile=_JIT.value,
    )
    matrix = tf.constant(rng.standard_normal((2048, 2048), np.float32))
    steps = {
        "training": lambda: float(stepper(batch, 0)["loss"]),
        "inference": lambda: forward().numpy(),
        "sgemm": lambda: tf.matmul(matrix, matrix).numpy(),
    }
    return steps, count_flops(stepper.model, _SIZE.value, _SIZE.value)


def torch_steps() -> dict[str, Callable[[], object]]:
    import torch

    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    from torch_icdpm import GuidedDiffusion

    model = GuidedDiffusion(_CH.value, _GUIDE_CH.value).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), 1e-4, betas=(0.5, 0.999))
    average = [p.detach().clone() for p in model.parameters()]
    shape = (_BATCH.value, 3, _SIZE.value, _SIZE.value)
    sharp, blurry = (torch.randn(shape).to(memory_format=torch.channels_last) for _ in range(2))
    level = torch.full((_BATCH.value,), 0.5)

    def train() -> float:
        noise = torch.randn_like(sharp)
        noisy = 0.5 * sharp + 0.75**0.5 * noise
        predicted, predictions = model(noisy, level, blurry)
        loss = (predicted - noise).abs().mean() + sum(p.square().mean() for p in predictions)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        torch._foreach_lerp_(average, [p.detach() for p in model.parameters()], 1e-4)
        return float(loss.detach())

    @torch.inference_mode()
    def infer() -> object:
        return model(sharp, level, blurry)[0].numpy()

    parameters = sum(p.numel() for p in model.parameters())
    print(f"PyTorch network: {parameters / 1e6:.3f} M parameters")
    return {"torch training": train, "torch inference": infer}


def main(argv: Sequence[str]) -> None:
    del argv
    steps, flops = our_steps()
    if _TORCH.value:
        steps |= torch_steps()
    seconds = median_times(steps, _REPEATS.value)
    sgemm = 2 * 2048**3 / seconds["sgemm"]
    print(
        f"ch={_CH.value} guide_ch={_GUIDE_CH.value} {_BATCH.value} x {_SIZE.value}x"
        f"{_SIZE.value}, jit={_JIT.value}, sgemm {sgemm / 1e9:.0f} GFLOP/s"
    )
    print("step       seconds  GFLOP/s  of sgemm  torch / ours")
    for name, passes in (("training", 3), ("inference", 1)):
        rate = passes * flops * _BATCH.value / seconds[name]
        other = seconds.get(f"torch {name}")
        ratio = "-" if other is None else f"{other / seconds[name]:.2f}"
        print(
            f"{name:9}  {seconds[name]:7.3f}  {rate / 1e9:7.1f}  {rate / sgemm:8.2f}  {ratio:>12}"
        )


if __name__ == "__main__":
    app.run(main)
