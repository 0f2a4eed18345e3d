"""What a training takes, counted before it starts."""

import pytest

from deblur_tf.models.flops import count_flops
from deblur_tf.training import cost
from tests.support.models import micro_model
from tests.support.training_case import recipe


def test_a_step_is_three_forward_passes_of_the_batch():
    model = micro_model()
    model.build()
    assert cost.step_flops(model, 32, 4) == 3 * 4 * count_flops(model, 32, 32)


def test_accumulation_divides_the_memory_and_not_the_operations():
    model = micro_model()
    model.build()
    whole, parts = (cost.describe(recipe(accumulate=n), model, 32) for n in (1, 4))
    assert whole[:3] == parts[:3]
    one, quarter = (float(lines[3].split("about ")[1].split()[0]) for lines in (whole, parts))
    assert quarter == pytest.approx(one / 4, rel=0.01)
