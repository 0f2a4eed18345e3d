"""Every shipped gin file is built, and its parameter count pinned."""

import functools
import itertools
import json

import gin
import keras
import pytest

from deblur_tf import config
from deblur_tf.base import bindings
from deblur_tf.base.backend import shapes_only
from deblur_tf.base.errors import ConfigError
from deblur_tf.bin import configs
from deblur_tf.diffusion.outputs import Noise
from tests.support.gin_rows import PINS, bound, included, knob, knobs
from tests.support.helpers import slow_but

PARTS = ("models/", "recipes/", "data/", "protocols/", "samplers/")


def all_files():
    root = config.config_dir()
    return sorted(str(p.relative_to(root)) for p in root.rglob("*.gin"))


def test_no_file_is_without_a_pin():
    assert [name for name in all_files() if not name.startswith(PARTS)] == sorted(PINS)


@pytest.mark.parametrize("name", PINS)
def test_rows_are_made_of_parts_and_undo_none(name):
    """No row includes a row; what a part binds is turned by its knobs alone."""
    parts = included(name)
    assert all(part.startswith(PARTS) for part in parts)
    for part in parts:
        twice = bound(name) & bound(part)
        assert all(key.isupper() or key[-2:].isdigit() for key in twice), (part, twice)


def test_parts_of_different_folders_bind_different_things():
    by_folder = {}
    for name in all_files():
        if name.startswith(PARTS):
            by_folder.setdefault(name.split("/")[0], set()).update(bound(name))
    for a, b in itertools.combinations(by_folder, 2):
        assert not by_folder[a] & by_folder[b], (a, b)


@functools.cache
def parameters(model_config):
    # Counting needs no values, for which the largest networks lack memory here.
    with shapes_only():
        model = keras.saving.deserialize_keras_object(json.loads(model_config))
        if not model.built:
            model.build()
        return model.count_params()


def described(name, overrides=()):
    """What is pinned of a file: parameters, batch, parts, crop, steps."""
    config.load([name], [o for o in overrides if knob(o) in knobs(name)])
    recipe = config.build("Recipe")
    model_config = json.dumps(keras.saving.serialize_keras_object(recipe.model()))
    source = config.reference("Recipe.pairs").replace("AlternatingPairs", "TfdsPairs")
    crop = gin.get_bindings(source).get("crop_size")  # statistics have none
    return [
        parameters(model_config),
        recipe.batch_size,
        recipe.accumulate,
        crop,
        recipe.total_steps,
    ]


# The largest take seconds each, and differ in little.
@pytest.mark.parametrize(
    "name", slow_but(PINS, *(n for n in PINS if not n.startswith("papers/deblurdiff/ablation/")))
)
def test_each_file_builds_what_it_says(name):
    assert described(name) == PINS[name]
    config.build("Protocol")


def test_rows_are_short_and_say_what_the_paper_printed():
    for name in PINS:
        if name.startswith("papers/"):
            lines = config.find_gin_file(name).read_text().splitlines()
            assert len(lines) <= 15, name
            assert lines[0].startswith(("# icDPM ", "# DvSR ", "# DeblurDiff ")), name


GUIDED = "- UNet.guided_depths = (1, 2, 3)"
GRAY = "- MultiscaleGuidance.target = 'gray'"
RGB = "+ MultiscaleGuidance.target = 'rgb'"
PERCEPTUAL = "'lpips_alex', 'niqe', 'fid', 'kid')"
TO_REALBLUR = [
    "- Protocol.dataset = 'gopro/blur'",
    "+ Protocol.dataset = 'realblur_j/full'",
    "- Protocol.name = 'gopro-v1'",
    "- Protocol.pictures = 1111",
    "+ Protocol.pictures = 980",
    "+ Protocol.name = 'realblur_j-v1'",
    f"- Protocol.metrics = ('psnr', 'ssim_matlab', 'ssim', {PERCEPTUAL}",
    f"+ Protocol.metrics = ('psnr_aligned', 'ssim_aligned', 'psnr', {PERCEPTUAL}",
]


@pytest.mark.parametrize(
    ("name", "base", "want"),
    [
        (
            "papers/icdpm/table9/b.gin",
            "papers/icdpm/table9/e.gin",
            [
                "+ GuidedDiffusion.inputs = @NoisyBlurryAndPrediction()",
                "+ MultiscaleGuidance.scales = (3,)",
                RGB,
                "- MultiscaleGuidance.scales = (1, 2, 3)",
                "- MultiscaleGuidance.target = 'gray'",
                GUIDED,
                "+ UNet.guided_depths = ()",
            ],
        ),
        (
            "papers/icdpm/table9/c.gin",
            "papers/icdpm/table9/d.gin",
            [
                "- MultiscaleGuidance.scales = (1, 2, 3)",
                "+ MultiscaleGuidance.scales = (3,)",
                GUIDED,
                "+ UNet.guided_depths = (3,)",
            ],
        ),
        ("papers/icdpm/table9/d.gin", "papers/icdpm/table9/e.gin", [GRAY, RGB]),
        ("papers/icdpm/table9/e.gin", "papers/icdpm/table10/add.gin", TO_REALBLUR),
        (
            "papers/icdpm/table10/concat.gin",
            "papers/icdpm/table10/add.gin",
            ["+ UNet.injection = 'concat'"],
        ),
        (
            "papers/icdpm/table10/adagn.gin",
            "papers/icdpm/table10/add.gin",
            ["+ UNet.injection = 'adagn'"],
        ),
        (
            "papers/icdpm/no_regression_loss.gin",
            "papers/icdpm/table4/ours.gin",
            ["- REGRESSION_WEIGHT = 1.0", "+ REGRESSION_WEIGHT = 0.0"]
            + ["- WARM_START_STEPS = 60000", "+ WARM_START_STEPS = 0"],
        ),
        (
            "papers/icdpm/table11/without_input.gin",
            "papers/icdpm/table11/with_input.gin",
            ["+ GuidedDiffusion.inputs = @NoisyOnly()"],
        ),
        ("papers/icdpm/table5/ours.gin", "papers/icdpm/table4/ours.gin", TO_REALBLUR),
        (
            "papers/icdpm/table2/f.gin",
            "papers/icdpm/table2/c.gin",
            ["- CH = 32", "+ CH = 64", "- GUIDE_CH = 32", "+ GUIDE_CH = 64"],
        ),
        (
            "papers/dvsr/table4/g.gin",
            "papers/dvsr/table4/f.gin",
            ["- EMA_DECAY = 0.0", "+ EMA_DECAY = 0.9999"],
        ),
    ],
)
def test_rows_differ_in_what_they_are_about(name, base, want):
    assert sorted(configs.difference(base, name)) == sorted(want)


def test_the_list_names_every_file(capsys):
    configs.main(["", "list"])
    listed = [line.split(": ", 1) for line in capsys.readouterr().out.splitlines()]
    assert [name for name, *_ in listed] == all_files()
    assert all(len(text) > 20 for _, text in listed)


def test_the_paper_settings_are_the_defaults():
    config.load(["gopro.gin"])
    recipe = config.build("Recipe")
    optimizer = recipe.optimizer()
    assert (optimizer.beta_1, optimizer.beta_2) == (0.5, 0.999)
    rate = optimizer._learning_rate
    assert (rate.peak, rate.warmup_steps, rate.decay_steps) == (1e-4, 20_000, None)
    assert recipe.objective.warm_start_steps == 60_000
    assert (recipe.objective.train_steps, recipe.objective.train_beta_max) == (2000, 0.01)
    assert recipe.ema_decay == 0.9999
    assert recipe.model().output_form == Noise()


# Rows of DvSR in icDPM's Table 5; and files of its predictor alone.
OF_DVSR = ("dvsr", "dvsr_sa", "unet")
REGRESSION = ("table5/unet.gin", "appendix_h/regression.gin")


@pytest.mark.parametrize("name", [n for n in PINS if n.startswith("papers/deblurdiff/")])
def test_what_is_known_of_deblurdiff_is_in_the_dry_run(name):
    config.load([name])
    text = bindings.all_bindings()
    released = name.endswith("released_code.gin")
    for line in (
        f"BATCH_SIZE = {64 if released else 128}",
        f"LEARNING_RATE = {1e-4 if released else 5e-5}",
        f"TOTAL_STEPS = {200_000 if released else 100_000}",
        f"PIXEL_WEIGHT = {0.0 if released else 1.0}",
        f"ENCODED_RANGE = {(0.0, 1.0) if released else (-1.0, 1.0)}",
        "CROP_SIZE = 512",
        "Protocol.steps = 50",
    ):
        assert line in text, line


@pytest.mark.parametrize("name", [n for n in PINS if n.startswith(("papers/ic", "papers/dv"))])
def test_every_printed_hyper_parameter_is_in_the_dry_run(name):
    config.load([name])
    text = bindings.all_bindings()
    dvsr = "papers/dvsr/" in name or name.removesuffix(".gin").split("/")[-1] in OF_DVSR
    regression = name.startswith("papers/dvsr/table4") or name.endswith(REGRESSION)
    optimizer, betas, decay = ("adamw", (0.9, 0.999), 1e-4) if dvsr else ("adam", (0.5, 0.999), 0)
    printed = [f"{optimizer}.beta_1 = {betas[0]}", f"{optimizer}.beta_2 = {betas[1]}"]
    printed += ["LEARNING_RATE = 0.0001", "CROP_SIZE = 128", "EMA_DECAY = ", "BATCH_SIZE = "]
    if decay:
        printed.append(f"adamw.weight_decay = {decay}")
    if not regression:
        printed += ["Objective.train_steps = 2000", "Objective.train_beta_max = 0.01"]
    for line in printed:
        assert line in text, line


def test_overrides_reach_the_objects_and_the_record():
    config.load(["smoke.gin"], ["CH = 4", "BATCH_SIZE = 2", 'BODY_DTYPE = "mixed_bfloat16"'])
    recipe = config.build("Recipe")
    model = recipe.model()
    assert model.unet.base_channels == 4
    assert model.unet.dtype_policy.name == "mixed_bfloat16"
    assert model.dtype_policy.name == "float32"
    assert recipe.batch_size == 2
    assert "CH = 4" in bindings.operative()


def test_a_saved_record_is_a_configuration(tmp_path):
    config.load(["smoke.gin"], ["CH = 4"])
    config.build("Recipe").model()
    record = tmp_path / "config.gin"
    record.write_text(bindings.operative())
    config.load([str(record)])
    assert config.build("Recipe").model().unet.base_channels == 4


def test_a_parameter_may_be_bound_past_its_knob():
    config.load(["smoke.gin"], ["Recipe.ema_decay = 0.5"])
    assert config.build("Recipe").ema_decay == 0.5


def test_folders_of_the_user_are_not_in_the_way_of_includes(tmp_path, monkeypatch):
    for name in ("data", "models", "recipes"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    config.load(["smoke.gin"])
    (tmp_path / "mine.gin").write_text('include "smoke.gin"\nCH = 4\n')
    config.load(["mine.gin"])
    assert config.build("Recipe").model().unet.base_channels == 4
    (tmp_path / "bad.gin").write_text("CH = = 4\n")
    with pytest.raises(ConfigError, match=r"bad\.gin"):
        config.load(["bad.gin"])


@pytest.mark.parametrize(
    ("files", "overrides", "message"),
    [
        (["nothing.gin"], [], "smoke.gin"),
        (["smoke.gin"], ["PairGenerator.crop_sise = 3"], "crop_sise"),
        (["smoke.gin"], ["Unknown.thing = 3"], "Unknown"),
        (["smoke.gin"], ["CH = = 3"], "bad configuration"),
        (["smoke.gin"], ["TOTAL_STEP = 3"], "nothing reads TOTAL_STEP; did you mean TOTAL_STEPS"),
        (["smoke.gin"], ["DATASET = 'x'"], "nothing reads DATASET; there are BATCH_SIZE"),
    ],
)
def test_mistakes_in_files_are_refused(files, overrides, message):
    with pytest.raises(ConfigError, match=message):
        config.load(files, overrides)


def test_steps_per_call_divides_the_intervals():
    config.load(["smoke.gin"], ["Recipe.steps_per_call = 3"])
    with pytest.raises(ConfigError, match="total_steps = 200 must be a multiple"):
        config.build("Recipe")


@pytest.mark.parametrize("override", ["TOTAL_STEPS = 0", "SamplingSettings.steps = 0"])
def test_impossible_values_are_refused(override):
    config.load(["smoke.gin"], [override])
    with pytest.raises(ConfigError, match="must be"):
        config.build("Recipe")


def test_a_misspelt_layer_setting_is_refused():
    """Layers take **kwargs, so gin lets it pass; Keras does not."""
    config.load(["smoke.gin"], ["UNet.base_chanels = 3"])
    recipe = config.build("Recipe")
    with pytest.raises(ConfigError, match="base_chanels"), bindings.construction_errors():
        recipe.model()


@pytest.mark.parametrize("name", [n for n in PINS if n.startswith(("papers/ic", "papers/dv"))])
def test_the_papers_rows_train_on_every_image(name):
    """The papers hold nothing out of GoPro's 2,103 pairs, or of DIV2K's photographs."""
    config.load([name])
    assert gin.query_parameter("train/TfdsPairs.part").config_key[0] == "PART"
    assert gin.query_parameter("PART/gin.macro.value") == "all"
    assert gin.query_parameter("VALIDATION_PAIRS/gin.macro.value") is None
