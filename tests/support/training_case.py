"""A training recipe that runs in seconds."""

from deblur_tf.data.pairs import PairGenerator
from deblur_tf.training.objectives.diffusion import Objective
from deblur_tf.training.optimizer import adam
from deblur_tf.training.recipe import Recipe
from tests.support.models import nano_model


def recipe(**changes):
    settings = {
        "model": nano_model,
        "pairs": lambda: PairGenerator(crop_size=16),
        "optimizer": lambda: adam(1e-3, warmup_steps=2),
        "objective": Objective(warm_start_steps=2),
        "batch_size": 4,
        "total_steps": 6,
        "ema_decay": 0.9,
        "log_every": 2,
        "checkpoint_every": 3,
    }
    return Recipe(**(settings | changes))


# The same network in flags of the program, over smoke.gin.
SMALL = [
    "--gin_param=CH = 4",
    "--gin_param=UNet.channel_multipliers = (1,)",
    "--gin_param=UNet.guided_depths = ()",
    "--gin_param=GuidedDiffusion.guidance = None",
    "--gin_param=CROP_SIZE = 16",
    "--gin_param=BATCH_SIZE = 2",
    "--gin_param=Recipe.log_every = 1",
    "--gin_param=Recipe.validate_every = 1000",
    "--gin_param=Recipe.validation_images = 1",
    "--gin_param=SamplingSettings.steps = 1",
]
