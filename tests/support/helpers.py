"""Random arrays and weights, and marks for slow cases."""

import signal

import numpy as np
import pytest
from scipy import ndimage


def random_filter(seed=0):
    """Two kernels and noise ratios of a Wiener filter, see `deconvolution.wiener`."""
    from deblur_tf.data import blur

    kernel = np.stack([blur.random_kernel(np.random.default_rng(seed + i)) for i in range(2)])
    ratio = 0.2 * np.random.default_rng(seed).standard_normal((2, 19, 19)).astype("float32")
    ratio = (ratio + ratio[:, ::-1, ::-1]) / 2
    ratio[:, 9, 9] = -3.0
    return kernel, ratio


def natural(seed, height, width):
    """A picture with edges: patches of constant colour under some texture, in [-1, 1]."""
    rng = np.random.default_rng(seed)
    cells = ndimage.zoom(rng.random((height // 8 + 1, width // 8 + 1, 3)), (8, 8, 1), order=0)
    texture = 0.05 * rng.standard_normal((height, width, 3))
    return np.clip(2 * cells[:height, :width] - 1 + texture, -1, 1).astype("float32")


def randomize(model, seed=0, scale=0.1):
    """Gives every weight a random value: zero-initialised convs hide mistakes."""
    rng = np.random.default_rng(seed)
    for variable in sorted(model.variables, key=lambda v: v.path):
        variable.assign(scale * rng.standard_normal(variable.shape).astype("float32"))
    return model


def slow_but(cases, *kept):
    """Cases of which those that are not `kept` run with the slow tests alone."""
    return [c if c in kept else pytest.param(c, marks=pytest.mark.slow) for c in cases]


def hears_ctrl_c():
    """For `preexec_fn`: a process started in the background ignores SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def images(seed, *shape):
    """float32 uniform in [-1, 1]."""
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype("float32")
