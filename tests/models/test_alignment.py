"""Adversarial alignment of guidance features (icDPM app. B)."""

import numpy as np
import pytest
import tensorflow as tf

from deblur_tf.data.pairs import PairGenerator
from deblur_tf.inference.deblurrer import Deblurrer
from deblur_tf.models import saved
from deblur_tf.models.alignment import AlignedDiffusion, reverse_gradient
from deblur_tf.networks.unet import UNet
from deblur_tf.training.objectives.adversarial import AlignedObjective, AlternatingPairs
from deblur_tf.training.objectives.diffusion import Objective
from deblur_tf.training.steppers import make_stepper
from tests.support.conditional_models import aligned
from tests.support.helpers import images, randomize
from tests.support.training_case import recipe

SHALLOW = {"num_res_blocks": 1, "num_middle_blocks": 1}


def built():
    model = aligned()
    model.build()
    return randomize(model)


def uint8(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_the_gradient_is_reversed_and_the_value_is_not():
    x = tf.constant([1.0, -2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = reverse_gradient(x)
        loss = tf.reduce_sum(y * [3.0, 5.0])
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(tape.gradient(loss, x), [-3.0, -5.0])


def test_discriminators_learn_what_the_guidance_unlearns():
    """Cross-entropy by hand; its gradient is reversed for the guidance alone."""
    model, objective = built(), AlignedObjective(weight=1.0)
    blurry, items = uint8(0, 4, 16, 16, 3), np.arange(4, dtype=np.int32)

    def adversarial():
        return tf.reduce_sum(objective(model, blurry, blurry, 0, items)["adversarial"])

    objective_of = objective.objective
    guidance = objective_of.condition(model, blurry, 0, items)[0].guidance
    (feature,) = guidance.features
    with tf.GradientTape() as tape:
        (feature,) = objective_of.condition(model, blurry, 0, items)[0].guidance.features
        logits = model.discriminators[0](feature)
        plain = tf.nn.sigmoid_cross_entropy_with_logits([0.0, 1.0, 0.0, 1.0], logits)
        plain = tf.reduce_sum(plain)
    variables = model.trainable_variables
    want = tape.gradient(plain, variables)
    with tf.GradientTape() as tape:
        loss = adversarial()
    found = tape.gradient(loss, variables)
    assert float(loss) == pytest.approx(float(plain), rel=1e-5)
    seen = set()
    for variable, a, b in zip(variables, want, found, strict=True):
        part = variable.path.split("/")[1]
        if a is not None and "regression" not in variable.path:
            sign = 1.0 if part.startswith("discriminator") else -1.0
            np.testing.assert_allclose(b, sign * a, atol=1e-4, err_msg=variable.path)
            seen.add(part)
    assert seen == {"guidance", "discriminator_1"}
    assert feature.shape == (4, 8, 8, 2)


def test_the_second_domain_has_no_other_loss():
    model, objective = built(), AlignedObjective(Objective(warm_start_steps=0), weight=0.5)
    blurry, items = uint8(0, 4, 16, 16, 3), np.arange(4, dtype=np.int32)
    sharp, other = uint8(1, 4, 16, 16, 3), uint8(1, 4, 16, 16, 3)
    other[1::2] = 0  # the sharp images of the second domain are not used
    a, b = (objective(model, blurry, s, 5, items) for s in (sharp, other))
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])
    np.testing.assert_array_equal(np.array(a["denoising"])[1::2], 0)
    usual = Objective(warm_start_steps=0)(model, blurry, sharp, 5, items)
    assert list(a) == [*usual, "adversarial"]
    want = 2 * np.array(usual["loss"])[::2] + 0.5 * np.array(a["adversarial"])[::2]
    np.testing.assert_allclose(np.array(a["loss"])[::2], want, rtol=1e-5)


def test_pairs_alternate_between_the_domains():
    first, second = (lambda s=s: PairGenerator(crop_size=16, seed=s) for s in (0, 1))
    pairs = AlternatingPairs(first, second)
    for index in range(6):
        want = (first, second)[index % 2]()(index // 2)
        np.testing.assert_array_equal(pairs(index)[1], want[1])
    assert " against " in pairs.describe()
    with pytest.raises(ValueError, match=r"one crop size, got \[16, 32\]"):
        AlternatingPairs(first, lambda: PairGenerator(crop_size=32))


@pytest.mark.slow
def test_it_trains_restores_and_round_trips(tmp_path):
    made = recipe(model=aligned, objective=AlignedObjective(Objective(warm_start_steps=2)))
    tf.config.run_functions_eagerly(True)
    try:
        stepper = make_stepper(made)
        metrics = stepper(next(stepper.batches(made.pairs(), 0)), 0)
    finally:
        tf.config.run_functions_eagerly(False)
    assert float(metrics["adversarial"]) == pytest.approx(np.log(2), abs=0.1)
    saved.save_model(stepper.model, tmp_path, dtype="float32")
    copy = saved.load_model(tmp_path).model
    picture = np.uint8(127.5 * (images(0, 13, 18, 3) + 1))
    a, b = (Deblurrer(m).restore(picture, steps=2) for m in (stepper.model, copy))
    np.testing.assert_array_equal(a, b)


def test_it_needs_guidance():
    with pytest.raises(ValueError, match="needs a guidance network"):
        AlignedDiffusion(UNet(4))


def test_the_condition_is_computed_once_a_step_and_with_noise(monkeypatch):
    model, seen = built(), []
    original = model.condition
    model.condition = lambda blurry, noise: seen.append(noise) or original(blurry, noise)
    blurry, items = uint8(0, 4, 16, 16, 3), np.arange(4, dtype=np.int32)
    AlignedObjective()(model, blurry, blurry, 0, items)
    assert len(seen) == 1
    assert np.std(seen[0][0]) > 0.5
