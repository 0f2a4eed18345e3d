"""Exponential moving average of the weights (DvSR app. E), with a warm-up."""

from __future__ import annotations

import keras
from keras import ops

from deblur_tf.base.types import Tensor
from deblur_tf.storage.arrays import named_variables


def ema_decay(step: Tensor, decay: float) -> Tensor:
    """min(decay, (1 + step) / (10 + step)): early weights soon lose their influence."""
    step = ops.cast(step, "float32")
    return ops.minimum(decay, (1.0 + step) / (10.0 + step))


def ema_update(average: Tensor, value: Tensor, decay: Tensor) -> Tensor:
    """decay * average + (1 - decay) * value."""
    return average + (1.0 - decay) * (value - average)


class EMA:
    """Averages of a model's trainable variables, under the same names.

    The training weights are never changed; for evaluation, copy the averages
    into a second model.

    Attributes:
      variables: the averages by name; their initial values are the weights.
    """

    def __init__(self, model: keras.Model, decay: float = 0.9999):
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"the EMA decay must be in [0, 1), got {decay}")
        self.decay = decay
        self._weights = named_variables(model, trainable_only=True)
        # Through NumPy: a keras.Variable made from a tf.Variable shares it.
        self.variables = {
            name: keras.Variable(
                ops.convert_to_numpy(v.value), trainable=False, dtype=v.dtype, name=v.name
            )
            for name, v in self._weights.items()
        }

    def update(self, step: Tensor) -> None:
        """Moves the averages towards the weights; `step` counts from 0."""
        decay = ema_decay(step, self.decay)
        for name, average in self.variables.items():
            average.assign(ema_update(average.value, self._weights[name].value, decay))
