"""A random LPIPS in PyTorch's layout, and what the `lpips` package measures with it."""

import numpy as np

from deblur_tf.metrics.convert import _LAYERS
from deblur_tf.metrics.lpips import BLOCKS

# Made by tests/support/make_lpips_literals.py.
KEPT = {"alex": 0.13674303889274597, "vgg": 0.183876633644104}


def torch_arrays(net):
    """(trunk, heads) as torchvision and lpips name them."""
    rng = np.random.default_rng(0)
    trunk, heads, last = {}, {}, 3
    for i, ((_, convs), numbers) in enumerate(zip(BLOCKS[net], _LAYERS[net], strict=True)):
        for (channels, kernel, _, _), number in zip(convs, numbers, strict=True):
            shape = (channels, last, kernel, kernel)
            weight = rng.standard_normal(shape) * np.sqrt(2 / (last * kernel**2))
            trunk[f"features.{number}.weight"] = weight.astype("float32")
            trunk[f"features.{number}.bias"] = (0.1 * rng.standard_normal(channels)).astype("f")
            last = channels
        heads[f"lin{i}.model.1.weight"] = rng.uniform(0, 1, (1, last, 1, 1)).astype("float32")
    trunk["classifier.1.bias"] = np.zeros(3, "float32")
    return trunk, heads


def literal_case():
    """Two pictures, uint8 [72, 65, 3]."""
    rng = np.random.default_rng(1)
    a = rng.integers(0, 256, (72, 65, 3)).astype(np.uint8)
    b = np.clip(a + rng.integers(-60, 61, a.shape), 0, 255).astype(np.uint8)
    return a, b
