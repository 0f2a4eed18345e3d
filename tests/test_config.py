"""Every shipped gin file is built, and its parameter count pinned."""

import keras
import numpy as np
import pytest
from PIL import Image

from deblur_tf import config
from deblur_tf.datasets import prepare

# file: (parameters, batch x parts, crop, steps); files in data/ go with a base.
PINNED = {
    "base/icdpm.gin": (13_379_014, (256, 1), 128, 1_000_000),
    "base/unguided.gin": (6_930_499, (256, 1), 128, 1_000_000),
    "base/shallow.gin": (1_073_710, (16, 1), 64, 1_000_000),
    "budget/1gpu_24gb.gin": (13_379_014, (64, 2), 128, 250_000),
    "budget/cpu.gin": (1_073_710, (16, 1), 64, 40_000),
    "data/gopro.gin": (13_379_014, (256, 1), 128, 1_000_000),
    "data/tfds.gin": (13_379_014, (256, 1), 128, 1_000_000),
    "gopro.gin": (13_379_014, (256, 1), 128, 1_000_000),
    "smoke.gin": (270_970, (8, 1), 32, 200),
    "smoke_gopro.gin": (270_970, (8, 1), 32, 200),
    "tiny.gin": (1_073_710, (16, 1), 64, 7000),
}


def test_no_file_is_without_a_pin():
    root = config.config_dir()
    assert sorted(str(p.relative_to(root)) for p in root.rglob("*.gin")) == sorted(PINNED)


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


@pytest.mark.parametrize("name", PINNED)
def test_each_file_builds_what_it_says(name, data_dir):
    files = ["base/icdpm.gin", name] if name.startswith("data/") else [name]
    config.load(files)
    if config.reference("Recipe.pairs") == "TfdsPairs":
        config.load(files, [f"DATA_DIR = '{data_dir}'", "DATASET = 'gopro/blur_subset'"])
    recipe = config.build("Recipe")
    model = recipe.model()
    model.build()
    pairs = recipe.pairs()
    found = (
        model.count_params(),
        (recipe.batch_size, recipe.accumulate),
        pairs.crop_size,
        recipe.total_steps,
    )
    assert found == PINNED[name]
    assert pairs(0)[0].shape == (pairs.crop_size, pairs.crop_size, 3)
    assert isinstance(recipe.optimizer(), keras.optimizers.Adam)


def test_the_paper_settings_are_the_defaults():
    config.load(["base/icdpm.gin"])
    recipe = config.build("Recipe")
    optimizer = recipe.optimizer()
    assert (optimizer.beta_1, optimizer.beta_2) == (0.5, 0.999)
    rate = optimizer._learning_rate
    assert (rate.peak, rate.warmup_steps, rate.decay_steps) == (1e-4, 20_000, None)
    assert recipe.objective.warm_start_steps == 60_000
    assert recipe.objective.weighting == "noise"
    assert (recipe.objective.train_steps, recipe.objective.train_beta_max) == (2000, 0.01)
    assert recipe.ema_decay == 0.9999
    assert recipe.model().output_type == "noise"


def test_overrides_reach_the_objects_and_the_record():
    config.load(["smoke.gin"], ["CH = 4", "BATCH_SIZE = 2", 'BODY_DTYPE = "mixed_bfloat16"'])
    recipe = config.build("Recipe")
    model = recipe.model()
    assert model.unet.base_channels == 4
    assert model.unet.dtype_policy.name == "mixed_bfloat16"
    assert model.dtype_policy.name == "float32"
    assert recipe.batch_size == 2
    assert "CH = 4" in config.operative()


def test_a_saved_record_is_a_configuration(tmp_path):
    config.load(["smoke.gin"], ["CH = 4"])
    config.build("Recipe").model()
    record = tmp_path / "config.gin"
    record.write_text(config.operative())
    config.load([str(record)])
    assert config.build("Recipe").model().unet.base_channels == 4


@pytest.mark.parametrize(
    ("files", "overrides", "message"),
    [
        (["nothing.gin"], [], "smoke.gin"),
        (["smoke.gin"], ["PairGenerator.crop_sise = 3"], "crop_sise"),
        (["smoke.gin"], ["Unknown.thing = 3"], "Unknown"),
        (["smoke.gin"], ["CH = = 3"], "bad configuration"),
    ],
)
def test_mistakes_in_files_are_refused(files, overrides, message):
    with pytest.raises(config.ConfigError, match=message):
        config.load(files, overrides)


@pytest.mark.parametrize("override", ["TOTAL_STEPS = 0", 'Objective.weighting = "x"'])
def test_impossible_values_are_refused(override):
    config.load(["smoke.gin"], [override])
    with pytest.raises(config.ConfigError, match="must be"):
        config.build("Recipe")


def test_a_misspelt_layer_setting_is_refused():
    """Layers take **kwargs, so gin lets it pass; Keras does not."""
    config.load(["smoke.gin"], ["UNet.base_chanels = 3"])
    recipe = config.build("Recipe")
    with pytest.raises(config.ConfigError, match="base_chanels"), config.errors():
        recipe.model()
