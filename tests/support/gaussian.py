"""Gaussian data, of which the answer of every sampler is known."""

import numpy as np
import tensorflow as tf
from keras import ops

from deblur_tf.diffusion import samplers
from deblur_tf.diffusion.outputs import Estimate

MEAN, STDDEV = 0.3, 0.5


def ideal_denoise(mean=MEAN):
    """E[noise | x_t] and E[x_0 | x_t] for x_0 ~ N(mean, STDDEV^2)."""

    def denoise(noisy, noise_level, given=None):
        del given
        level = noise_level[:, None, None, None]
        sigma = ops.sqrt(1 - level**2)
        noise = sigma * (noisy - level * mean) / (level**2 * STDDEV**2 + sigma**2)
        return Estimate((noisy - sigma * noise) / level, noise)

    return denoise


def sample(sampler, schedule, denoise, noise, loop=samplers.python_loop):
    body = samplers.step_function(sampler, denoise, lambda t, given: noise(t))
    table = ops.convert_to_tensor(sampler.table(schedule))

    def whole(start, table):
        return samplers.run(sampler, body, start, table, schedule.steps, loop=loop)

    if loop is samplers.graph_loop:
        whole = tf.function(whole, autograph=False)
    return np.array(whole(ops.convert_to_tensor(noise(schedule.steps)), table))


def moments(sampler, schedule, loop=samplers.graph_loop):
    """Mean and variance of the sampler's output, exactly: its steps are linear here.

    Each step's noise enters in a channel of its own; the outputs are its coefficients.
    """
    zero = np.zeros((1, 1, 1, 1), "float32")
    mean = sample(sampler, schedule, ideal_denoise(), lambda t: zero, loop).item()
    basis = ops.convert_to_tensor(np.eye(schedule.steps + 1, dtype="float32"))

    def noise(t):
        return ops.take(basis, t, axis=0)[None, None, None]

    coefficients = sample(sampler, schedule, ideal_denoise(0.0), noise, loop)
    return mean, np.sum(np.float64(coefficients) ** 2)
