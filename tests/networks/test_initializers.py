import keras
import numpy as np
import pytest
from scipy import stats

from deblur_tf.networks.initializers import GlorotUniform
from tests.support.models import small_model


def test_the_limit_is_glorots():
    values = np.array(GlorotUniform(0)((3, 3, 16, 32)))
    limit = np.sqrt(6 / (9 * (16 + 32)))
    assert limit * 0.99 < np.abs(values).max() <= limit
    assert stats.kstest(values.ravel() / limit, "uniform", args=(-1, 2)).pvalue > 1e-3
    assert np.abs(np.array(GlorotUniform(0)((5, 7)))).max() <= np.sqrt(6 / 12)


@pytest.mark.slow
def test_weights_follow_from_the_seed_of_the_run():
    def weights(seed):
        keras.utils.set_random_seed(seed)
        model = small_model()
        model.build()
        return model.get_weights()

    first, again, other = weights(1), weights(1), weights(2)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(np.any(a != b) for a, b in zip(first, other, strict=True))
    kernels = [w for w in first if w.ndim == 4 and w.any()]
    assert len({w.tobytes() for w in kernels}) == len(kernels)


def test_a_stored_seed_gives_the_same_draw():
    one = GlorotUniform()
    copy = GlorotUniform.from_config(one.get_config())
    np.testing.assert_array_equal(one((3, 4)), copy((3, 4)))
    assert np.any(np.array(one((3, 4))) != np.array(GlorotUniform()((3, 4))))
    assert one((2, 3), dtype="bfloat16").dtype == pytest.importorskip("tensorflow").bfloat16
