"""Optimiser and learning-rate schedule (icDPM sec. 4.2; DvSR app. E)."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from deblur_tf.base.registry import configurable, resumable


@keras.saving.register_keras_serializable(package="deblur_tf")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up to `peak`, then constant or a cosine decay to zero.

    Args:
      peak: the highest learning rate.
      warmup_steps: optimizer steps of linear increase; the first step already
        has peak / warmup_steps.
      decay_steps: if given, the rate falls as a half cosine after the warm-up
        and reaches zero at this step; the papers keep it constant.
    """

    def __init__(self, peak: float, warmup_steps: int = 0, decay_steps: int | None = None):
        super().__init__()
        if not isinstance(peak, (int, float)) or not 0.0 < peak < 1e3:
            raise ValueError(f"the learning rate must be a positive number, got {peak!r}")
        if not isinstance(warmup_steps, int) or warmup_steps < 0:
            raise ValueError(f"warmup_steps must be a whole number >= 0, got {warmup_steps!r}")
        if decay_steps is not None and decay_steps <= warmup_steps:
            raise ValueError(
                f"a run of {decay_steps} steps (decay_steps, in most files TOTAL_STEPS) must be "
                f"longer than its warm-up of {warmup_steps} (warmup_steps, WARMUP_STEPS), e.g. "
                '--gin_param="WARMUP_STEPS = 0"'
            )
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.decay_steps = decay_steps

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        factor = ops.minimum((step + 1.0) / max(self.warmup_steps, 1), 1.0)
        if self.decay_steps is not None:
            span = self.decay_steps - self.warmup_steps
            progress = ops.clip((step - self.warmup_steps) / span, 0.0, 1.0)
            factor = factor * 0.5 * (1.0 + ops.cos(math.pi * progress))
        return self.peak * factor

    def get_config(self) -> dict[str, Any]:
        return {
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "decay_steps": self.decay_steps,
        }


class _Fused:
    """Adam's update as one operation per variable on TensorFlow, instead of 25.

    The equations are Keras' (`keras.optimizers.Adam.update_step`). It saves time when a step is
    traced (docs/results.md, "Speed").
    """

    # Attributes of Keras' optimizer, into which this class is mixed.
    _get_variable_index: Any
    _momentums: Any
    _velocities: Any
    iterations: Any
    beta_1: float
    beta_2: float
    epsilon: float

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable; called by Keras.

        Args:
          gradient: gradient in the variable's shape.
          variable: the tf.Variable that Keras' variable wraps.
          learning_rate: scalar.
        """
        if keras.backend.backend() != "tensorflow":
            super().update_step(gradient, variable, learning_rate)  # type: ignore[misc]
            return
        import tensorflow as tf

        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations.value + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(tf.constant(self.beta_1, variable.dtype), step),
            beta2_power=tf.pow(tf.constant(self.beta_2, variable.dtype), step),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, variable.dtype),
        )


class _Adam(_Fused, keras.optimizers.Adam):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)


class _AdamW(_Fused, keras.optimizers.AdamW):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)


@configurable
@resumable("decay_steps")
def adam(
    learning_rate: float = 1e-4,
    warmup_steps: int = 20_000,
    decay_steps: int | None = None,
    beta_1: float = 0.5,
    beta_2: float = 0.999,
) -> keras.optimizers.Optimizer:
    """Adam (0.5, 0.999) with linear warm-up (icDPM sec. 4.2)."""
    _check_betas(beta_1, beta_2)
    return _Adam(
        WarmUp(learning_rate, warmup_steps, decay_steps),
        beta_1=beta_1,
        beta_2=beta_2,
        name="optimizer",
    )


@configurable
@resumable("decay_steps")
def adamw(
    learning_rate: float = 1e-4,
    warmup_steps: int = 0,
    decay_steps: int | None = None,
    weight_decay: float = 1e-4,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
) -> keras.optimizers.Optimizer:
    """AdamW as in DvSR (app. E): learning rate 1e-4, weight decay 1e-4.

    Keras' AdamW subtracts learning_rate * weight_decay * w from each weight w.
    """
    _check_betas(beta_1, beta_2)
    return _AdamW(
        WarmUp(learning_rate, warmup_steps, decay_steps),
        weight_decay=weight_decay,
        beta_1=beta_1,
        beta_2=beta_2,
        name="optimizer",
    )


def _check_betas(beta_1: float, beta_2: float) -> None:
    for name, value in (("beta_1", beta_1), ("beta_2", beta_2)):
        if not 0.0 <= value < 1.0:
            raise ValueError(f"{name} must be in [0, 1), got {value!r}")
