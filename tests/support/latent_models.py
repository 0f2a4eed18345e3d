"""DeblurDiff and its ablations at a few channels, and how they are trained."""

import keras
import numpy as np

from deblur_tf.data.pairs import PairGenerator
from deblur_tf.diffusion.outputs import Velocity
from deblur_tf.diffusion.sampling import SamplingSettings
from deblur_tf.models.deblurdiff import Autoencoder, LatentDiffusion
from deblur_tf.training.objectives.latent import LatentObjective
from deblur_tf.training.recipe import Recipe
from deblur_tf.training.steppers import make_stepper
from tests.support.helpers import images, randomize
from tests.support.models import latent_model, latent_parts

KINDS = ("kernels", "direct", "once", "control")


def prior():
    vae, unet, *_ = latent_parts()
    return LatentDiffusion(vae, unet, Velocity())


MODELS = {kind: lambda kind=kind: latent_model(kind) for kind in KINDS}


MODELS |= {"prior": prior, "autoencoder": lambda: Autoencoder(latent_parts()[0])}


def built(make, scale=0.1):
    model = make()
    model.build()
    return randomize(model, scale=scale)


def recipe(make, **changes):
    settings = {
        "model": make,
        "pairs": lambda: PairGenerator(crop_size=16),
        "optimizer": lambda: keras.optimizers.SGD(1e-2),  # Adam without a graph is slow
        "objective": LatentObjective(),
        "batch_size": 2,
        "total_steps": 2,
        "ema_decay": 0.5,
        "log_every": 1,
        "checkpoint_every": 1,
        "validate_every": 2,
        "validation_images": 1,
        "sampling": SamplingSettings(steps=2),
    }
    return Recipe(**(settings | changes))


def trained_a_little():
    """Two steps of training and what is predicted then, by name; on either backend."""
    made = recipe(lambda: randomize_built(latent_model()))
    stepper = make_stepper(made)
    batches = stepper.batches(made.pairs(), 0)
    losses = {f"loss/{i}": dict(stepper(next(batches), i)) for i in range(2)}
    found = {f"{i}/{n}": np.reshape(v, ()) for i, x in losses.items() for n, v in x.items()}
    state = stepper.state(2)
    found |= {n: v for n, v in state.items() if n.startswith("model/predictor/unet/conv")}
    condition = stepper.model.condition(images(0, 2, 16, 16, 3))
    level = np.array([0.3, 0.9], "float32")
    noise, structure = stepper.model.estimates(images(1, 2, 8, 8, 4), level, condition)
    return found | {"noise": np.array(noise), "structure": np.array(structure)}


def randomize_built(model):
    model.build()
    return randomize(model)
