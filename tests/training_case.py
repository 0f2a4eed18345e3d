"""A training recipe that runs in seconds."""

from deblur_tf.data.pairs import PairGenerator
from deblur_tf.training.objective import Objective
from deblur_tf.training.optimizer import adam
from deblur_tf.training.recipe import Recipe
from tests.conftest import micro_model


def recipe(**changes):
    settings = {
        "model": micro_model,
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
