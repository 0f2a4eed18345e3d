r"""Group normalisation against Keras' layer and a 3x3 convolution; ratios within one process.

  python benchmarks/normalization.py --side=256 --channels=64

"forward" and "gradient" are times over those of a 3x3 convolution of the same map; "error" is
the largest difference from float64, for values of mean 5 and standard deviation 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags
from timing import median_times

_BATCH = flags.DEFINE_integer("batch", 1, "Number of maps.")
_SIDE = flags.DEFINE_integer("side", 256, "Height and width of the maps.")
_CHANNELS = flags.DEFINE_integer("channels", 64, "Channels of the maps.")
_GROUPS = flags.DEFINE_integer("groups", 32, "Groups of channels.")


def main(argv: Sequence[str]) -> None:
    del argv
    import keras
    import numpy as np
    import tensorflow as tf

    from deblur_tf.networks.injections import conv
    from deblur_tf.networks.normalization import GroupNorm

    batch, side, channels, groups = _BATCH.value, _SIDE.value, _CHANNELS.value, _GROUPS.value
    values = np.random.default_rng(0).standard_normal((batch, side, side, channels))
    x = tf.constant(3.0 * values + 5.0, tf.float32)
    layers = {
        "GroupNorm": GroupNorm(groups),
        "Keras": keras.layers.GroupNormalization(groups, epsilon=1e-5),
        "conv 3x3": conv(channels, 3, "conv"),
    }
    grouped = np.float64(x).reshape(batch, -1, groups, channels // groups)
    mean, variance = (f(grouped, axis=(1, 3), keepdims=True) for f in (np.mean, np.var))
    wanted = ((grouped - mean) / np.sqrt(variance + 1e-5)).reshape(x.shape)

    def gradient(layer: Any) -> Callable[[], object]:
        @tf.function
        def step() -> Any:
            with tf.GradientTape() as tape:
                tape.watch(x)
                total = tf.reduce_sum(tf.square(layer(x)))
            return tape.gradient(total, [x, *layer.trainable_variables])

        return lambda: step()[0].numpy()

    def forward(layer: Any) -> Callable[[], object]:
        step = tf.function(lambda: layer(x))
        return lambda: step().numpy()

    times = [
        median_times({name: make(layer) for name, layer in layers.items()}, 15)
        for make in (forward, gradient)
    ]
    print(f"maps {batch} x {side} x {side} x {channels}, {groups} groups")
    print("| layer | forward | gradient | error |")
    print("|---|---|---|---|")
    for name in ("GroupNorm", "Keras"):
        ratios = (t[name] / t["conv 3x3"] for t in times)
        error = np.abs(np.float64(layers[name](x)) - wanted).max()
        print(f"| {name} | " + " | ".join(f"{r:.2f}" for r in ratios) + f" | {error:.1e} |")


if __name__ == "__main__":
    app.run(main)
