import numpy as np
import pytest
import scipy.stats

from deblur_tf.numerics import noise


def keys(seed, count):
    return noise.fold_in(noise.make_key(seed)[None], np.arange(count))


def mix_twin(x):
    """`lowbias32` in Python integers."""
    x ^= x >> 16
    x = x * 0x7FEB352D & 0xFFFFFFFF
    x ^= x >> 15
    x = x * 0x846CA68B & 0xFFFFFFFF
    return x ^ x >> 16


def test_hash_matches_a_python_integer_twin():
    key = noise.make_key(7)
    a, b = (int(v) for v in np.array(key))
    folded = mix_twin(a ^ mix_twin((5 * 0x9E3779B9 + b) & 0xFFFFFFFF))
    want = [folded, mix_twin((b + 0x9E3779B9 & 0xFFFFFFFF) ^ folded)]
    assert [int(v) for v in np.array(noise.fold_in(key, 5))] == want


def test_normal_noise_is_standard_normal():
    x = np.array(noise.normal(keys(0, 4), 256, 256, 3)).ravel()
    assert abs(x.mean()) < 5 / np.sqrt(x.size)
    assert abs(x.var() - 1) < 5 * np.sqrt(2 / x.size)
    assert scipy.stats.kstest(x[::7], "norm").pvalue > 1e-3
    assert np.all(np.isfinite(x))
    assert np.abs(x).max() > 4


def test_uniform_is_uniform_and_open():
    u = np.array(noise.uniform(keys(1, 20_000)))
    assert 0 < u.min() < 1e-3
    assert 1 - 1e-3 < u.max() < 1
    assert scipy.stats.kstest(u, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("shift", [(0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (1, 0, 0, 0)])
def test_neighbours_are_uncorrelated(shift):
    x = np.array(noise.normal(keys(2, 8), 128, 128, 3))
    y = np.roll(x, shift, axis=(0, 1, 2, 3))
    assert abs(np.mean(x * y)) < 5 / np.sqrt(x.size)


def test_seeds_and_steps_are_uncorrelated():
    fields = [
        np.array(noise.normal(noise.fold_in(keys(seed, 1), step), 128, 128, 3)).ravel()
        for seed in (0, 1, 2**32, -1)
        for step in (0, 1)
    ]
    correlation = np.corrcoef(fields) - np.eye(len(fields))
    assert np.abs(correlation).max() < 5 / np.sqrt(fields[0].size)


def test_noise_is_keyed_by_position_and_item_alone():
    small = noise.normal(keys(3, 2), 5, 6, 3)
    large = np.array(noise.normal(keys(3, 4), 9, 8, 3))
    np.testing.assert_allclose(large[:2, :5, :6], small, atol=1e-6)


def test_graph_mode_gives_the_same_noise(model):
    # TensorFlow's graph optimiser once misplaced the axes of stacked keys.
    import tensorflow as tf

    from deblur_tf.models.restoration import guidance_noise

    eager = guidance_noise(model, keys(4, 16), 64, 64)
    graph = tf.function(lambda k: guidance_noise(model, k, 64, 64))(keys(4, 16))
    for a, b in zip(eager, graph, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, atol=2e-6)


def test_a_64_bit_tensor_seed_equals_the_python_seed():
    import tensorflow as tf

    for seed in (0, 5, 2**40 + 3, -9):
        np.testing.assert_array_equal(
            noise.make_key(seed), noise.make_key(tf.constant(seed, tf.int64))
        )
