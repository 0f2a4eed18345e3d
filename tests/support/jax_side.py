"""Runs on the JAX backend, in a process where TensorFlow cannot be imported.

python -m tests.support.jax_side forward IN.npz OUT.npz
python -m tests.support.jax_side gradients IN.npz OUT.npz
python -m tests.support.jax_side train RUN_DIR STEPS
python -m tests.support.jax_side scan HOST|DEVICE OUT.npz
python -m tests.support.jax_side initial OUT.npz
python -m tests.support.jax_side latents OUT.npz
"""

import os
import sys

os.environ["KERAS_BACKEND"] = "jax"
sys.modules["tensorflow"] = None  # any import of it raises ImportError

import keras
import numpy as np

from deblur_tf.base.backend import compiled
from deblur_tf.data.input.device import DevicePairs
from deblur_tf.data.pairs import PairGenerator
from deblur_tf.storage.arrays import assign_named, named_variables, select
from deblur_tf.training import loop, steppers
from deblur_tf.training.objectives.diffusion import Draws, batch_loss
from tests.support.models import MODELS
from tests.support.training_case import recipe


def load(path):
    arrays = dict(np.load(path))
    model = MODELS[str(arrays["model_name"])]()
    model.build()
    assign_named(named_variables(model), select(arrays, "model"), path)
    noise = tuple(arrays[f"guidance_noise_{k}"] for k in model.guidance_scales)
    return model, arrays, noise


def forward(source, target):
    model, arrays, noise = load(source)
    call = compiled(model, model)
    out = call(arrays["sharp"], arrays["noise_level"], arrays["blurry"], noise)
    np.savez(target, noise=out["noise"], **{f"gray_{k}": g for k, g in enumerate(out["gray"])})


def gradients(source, target):
    import jax

    model, arrays, noise = load(source)
    draws = Draws(arrays["noise"], arrays["noise_level"], noise)

    def loss(weights):
        mapping = list(zip(model.trainable_variables, weights, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            condition = model.condition(arrays["blurry"], draws.guidance_noise)
            parts = batch_loss(model, condition, arrays["sharp"], draws, 30, 60)
        return keras.ops.mean(parts["loss"])

    value, grads = jax.jit(jax.value_and_grad(loss))([v.value for v in model.trainable_variables])
    names = named_variables(model, trainable_only=True)
    np.savez(target, loss=value, **dict(zip(names, grads, strict=True)))


def train(run_dir, steps):
    made = recipe(model=MODELS["micro"], total_steps=int(steps), accumulate=2)
    one = steppers.make_stepper(made)
    assert isinstance(one, steppers.JaxStepper)
    assert loop.train(made, one, made.pairs(), run_dir) == 0


def scan(where, target):
    """Six steps one by one, and two and four in a call: states and losses."""
    pairs = {"host": PairGenerator, "device": DevicePairs}[where](crop_size=16)
    for per_call in (1, 4):
        made = recipe(
            steps_per_call=per_call, total_steps=8, log_every=4, checkpoint_every=4,
            validate_every=4,
        )  # fmt: skip
        one = steppers.make_stepper(made)
        batches, step, losses = one.batches(pairs, 0), 0, []
        while step < 8:
            metrics = one(next(batches), step)
            losses += np.asarray(metrics["loss"]).reshape(-1).tolist()
            step += one.steps(step)
        state = one.state(step)
        np.savez(f"{target}.{per_call}.npz", losses=losses, rate=one.learning_rate(), **state)


def initial(target):
    keras.utils.set_random_seed(3)
    model = MODELS["small"]()
    model.build()
    np.savez(target, **{n: np.array(v.value) for n, v in named_variables(model).items()})


def latents(target):
    """Two steps of training, and what is predicted then."""
    from tests.support.latent_models import trained_a_little

    np.savez(target, **trained_a_little())


if __name__ == "__main__":
    {f.__name__: f for f in (forward, gradients, train, scan, initial, latents)}[sys.argv[1]](
        *sys.argv[2:]
    )
    assert sys.modules["tensorflow"] is None
