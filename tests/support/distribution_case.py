"""Trains the small recipe in a process of its own, as the program does.

  python -m tests.support.distribution_case STRATEGY RUN_DIR STEPS

With STRATEGY `mirrored`, two logical CPUs stand for two GPUs.
"""

import sys

import tensorflow as tf

from deblur_tf.training import distribution, loop
from deblur_tf.training.steppers import make_stepper
from tests.support.training_case import recipe

# Far below the gradients' norm, so that it is always active.
CLIP_NORM = 0.05


def main(strategy, run_dir, steps):
    if strategy == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
    placement = distribution.choose(strategy)
    print(placement, flush=True)
    made = recipe(total_steps=int(steps), log_every=1, clip_norm=CLIP_NORM)
    stepper = make_stepper(made, placement)
    with distribution.worker_errors(placement):
        return loop.train(made, stepper, made.pairs(), run_dir)


def entry():
    try:
        sys.exit(main(*sys.argv[1:]))
    except (distribution.WorkerError, distribution.DeviceError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    entry()
