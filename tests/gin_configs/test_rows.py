"""Every shipped gin file trains and samples, made as small as can be."""

import numpy as np
import pytest
from PIL import Image

from deblur_tf import config
from deblur_tf.base import bindings
from deblur_tf.datasets import prepare
from deblur_tf.diffusion.schedules import inference_schedule
from deblur_tf.models.restoration import Restoration, sample_keys
from deblur_tf.numerics import image_ops
from deblur_tf.reproduction.smoke import shallow
from deblur_tf.training.steppers import make_stepper
from tests.support.gin_rows import PINS, included, knob, knobs
from tests.support.helpers import randomize, slow_but

TINY = [
    "CH = 4",
    "GUIDE_CH = 2",
    "PREDICTOR_CH = 4",
    "RES_BLOCKS = 1",
    "MIDDLE_BLOCKS = 1",
    "BATCH_SIZE = 2",
    "CROP_SIZE = 16",
    "Recipe.accumulate = 1",
    "BODY_DTYPE = 'float32'",  # a CPU takes minutes for a step of bfloat16
    "realblur_j/TfdsPairs.dataset = 'gopro/blur_subset'",
]

DEBLURDIFF = [
    *("LatentUNet.channel_multipliers = (1, 2)", "ControlBranch.channel_multipliers = (1, 2)"),
    *("LatentUNet.num_res_blocks = 1", "ControlBranch.num_res_blocks = 1"),
    *("LatentUNet.attention_depths = ()", "ControlBranch.attention_depths = ()"),
    *("LatentUNet.head_width = 8", "ControlBranch.head_width = 8"),
    *("LatentUNet.groups = 4", "ControlBranch.groups = 4"),
    *("LatentUNet.context_shape = (2, 8)", "ControlBranch.context_shape = (2, 8)"),
    *("AutoencoderKL.channels = (8, 8)", "AutoencoderKL.num_res_blocks = 1"),
    *("AutoencoderKL.groups = 4", "CH = 8", "PREDICTOR_CH = 8"),
]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """GoPro's layout with pictures that are as large as a crop."""
    root = tmp_path_factory.mktemp("gopro")
    for side in ("blur", "sharp"):
        folder = root / "GOPRO_Large" / "train" / "scene" / side
        folder.mkdir(parents=True)
        Image.fromarray(np.zeros((128, 128, 3), np.uint8)).save(folder / "1.png")
    prepare.prepare("gopro", root, root / "data", subset=True)
    return root / "data"


# What does not change which code a step runs.
ALIKE = (
    *("Protocol", "TfdsPairs", "PairGenerator", "Recipe.pairs", "PHOTOS", "DATA", "SEED"),
    *("Recipe.log", "Recipe.validat", "Recipe.checkpoint", "Recipe.keep", "Recipe.ema"),
    *("SamplingSettings", "Recipe.sampling"),
    *("adam.", "adamw.", "LEARNING_RATE", "TOTAL_STEPS", "WARM", "BETA", "EMA", "#"),
    *("CROPS_PER", "SHUFFLE", "MAX_", "MILDNESS", "REDUCTIONS", "Recipe.total", "Recipe.accum"),
    *("Objective.regression_weight", "Objective.train_beta_max", "BATCH", "CROP", "BODY"),
    *("train/", "held_out/", "REGRESSION_WEIGHT", "ReusedPairs", "RealisticPairs", "RealisticBlur"),
    *("EXTENTS", "READ_NOISE", "WHITE_NOISE", "USES"),
    *("PREDICTOR",),  # each is restored with and trained in tests of its own
)


def tiny_settings(name, data_dir="data"):
    """What is left of a file at a tiny size, but for `ALIKE`."""
    overrides = TINY + [f"DATA_DIR = '{data_dir}'", "DATASET = 'gopro/blur_subset'"]
    overrides = [o for o in overrides if knob(o) in knobs(name)]
    if "data/realistic.gin" in included(name):
        overrides += ["ReusedPairs.processes = 0", "ReusedPairs.block = 2"]
    if "data/windows.gin" in included(name):
        overrides += ["EXAMPLES = 2", "PAIR_SIZE = 256"]  # as large as a window
    elif "data/realistic.gin" in included(name):
        overrides += ["PAIR_SIZE = 16"]
    if "data/own_photos.gin" in included(name):
        overrides += ["PairGenerator.bundled = True"]
    config.load([name])
    overrides += shallow(bindings.all_bindings())
    if "models/deblurdiff.gin" in included(name):
        overrides += DEBLURDIFF
    config.load([name], overrides)
    lines = bindings.all_bindings().splitlines()
    return "\n".join(x for x in lines if x and not x.startswith(ALIKE))


# Rows that are trained and sampled in test_reproduce.py, with all that are like them.
SMOKE = ("papers/dvsr/", *(f"papers/icdpm/table{n}/" for n in (5, 9, 10)))
THERE = {tiny_settings(name) for name in PINS if name.startswith(SMOKE)}

# One of each other kind.
UNLIKE = list({s: name for name in PINS if (s := tiny_settings(name)) not in THERE}.values())


@pytest.mark.parametrize("name", slow_but(UNLIKE, "smoke.gin"))
def test_each_file_trains_and_samples_at_a_tiny_size(name, data_dir, eager_steps):
    """One training step and two sampling steps, on real files of the right kind."""
    tiny_settings(name, data_dir)
    recipe = config.build("Recipe")
    stepper = make_stepper(recipe)
    if stepper.frozen():  # a new prior gives nothing, so that nothing could be learned from it
        randomize(stepper.model)
    before = stepper.model.get_weights()
    batch = next(stepper.batches(recipe.pairs(), 0))
    metrics = stepper(batch, 0)
    assert np.isfinite(float(metrics["loss"]))
    assert list(metrics)[0] == "loss"
    assert any(np.any(a != b) for a, b in zip(before, stepper.model.get_weights(), strict=True))
    held_out = (recipe.validation_pairs or recipe.pairs)()
    blurry = image_ops.to_model_range(np.stack([held_out(i)[0] for i in range(2)]))
    sample = Restoration(stepper.model)(blurry, sample_keys(0, [0, 1]), inference_schedule(2))
    assert sample.shape == blurry.shape
    assert np.isfinite(np.asarray(sample)).all()
