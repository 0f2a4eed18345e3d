"""The interface of a sampler, and the one loop that drives all of them.

A sampler handles arrays only. `given` passes through the loop untouched: the condition of a
model and the keys of its noise, or nothing. Time runs from T down to 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import numpy as np
from keras import ops

from deblur_tf.base.backend import cond
from deblur_tf.base.types import Tensor
from deblur_tf.diffusion.outputs import Estimate
from deblur_tf.diffusion.schedules import Schedule

State = Any  # what a sampler remembers: nested tuples of tensors
Carry = tuple[Tensor, State]

# (x, noise_level [B]) -> the network's estimate.
Denoise = Callable[[Tensor, Tensor], Estimate]
# Standard normal noise of the shape of x.
Draw = Callable[[], Tensor]
# (t, row t of the table, carry, given) -> carry
Body = Callable[[Tensor, Tensor, Carry, Any], Carry]
# (body, steps, carry, table, given) -> the last carry
Loop = Callable[[Body, Any, Carry, Tensor, Any], Carry]


class Sampler(Protocol):
    """A way from noise to data.

    Attributes:
      order: order of convergence: halving the step size divides the error by 2 ** order.
    """

    order: ClassVar[int]

    def evaluations(self, steps: int) -> int:
        """Number of evaluations of the network in `steps` steps."""
        ...

    def table(self, schedule: Schedule) -> np.ndarray:
        """The coefficients that `step` needs for each step: float32 [T, columns]."""
        ...

    def init(self, x: Tensor) -> State:
        """The state before the first step, from x_T; () for none."""

    def step(self, denoise: Denoise, x: Tensor, row: Tensor, noise: Draw, state: State) -> Carry:
        """x_t -> x_{t-1} and the new state.

        Args:
          denoise: see `Denoise`.
          x: x_t, float32 [B, H, W, C].
          row: row t - 1 of `table`, float32 [columns].
          noise: draws standard normal noise of the shape of x; see `add_noise`.
          state: from the previous step.
        """
        ...


def add_noise(mean: Tensor, stddev: Tensor, noise: Draw) -> Tensor:
    """mean + stddev * noise; noise is drawn only where stddev is positive.

    It is zero in the last step, and always in deterministic sampling; drawing noise costs
    about a tenth of an evaluation of a small network.
    """
    return cond(stddev > 0.0, lambda: mean + stddev * noise(), lambda: mean)


def step_function(
    sampler: Sampler,
    denoise: Callable[[Tensor, Tensor, Any], Estimate],
    noise: Callable[[Tensor, Any], Tensor],
) -> Body:
    """One step as a function of tensors only, which can be compiled.

    Args:
      sampler: takes the step.
      denoise: as `Denoise`, with `given` as third argument.
      noise: (t, given) -> standard normal noise; noise(t) is added in the step to x_t, and
        x_T is noise(T).
    """

    def body(t: Tensor, row: Tensor, carry: Carry, given: Any) -> Carry:
        x, state = carry

        def at(x: Tensor, noise_level: Tensor) -> Estimate:
            return denoise(x, noise_level, given)

        return sampler.step(at, x, row, lambda: noise(t - 1, given), state)

    return body


def run(
    sampler: Sampler,
    body: Body,
    x: Tensor,
    table: Tensor,
    steps: Any,
    given: Any = (),
    loop: Loop | None = None,
) -> Tensor:
    """All steps of a sampler, from x_T to x_0 (DvSR Algorithm 1).

    Args:
      sampler: the sampler.
      body: its `step_function`, compiled or not.
      x: x_T, float32 [B, H, W, C].
      table: the sampler's `table`, float32 [T, columns].
      steps: T; a tensor inside a graph.
      given: passed on to `body`.
      loop: `python_loop` unless another is given.

    Returns:
      x_0, float32 [B, H, W, C].
    """
    loop = python_loop if loop is None else loop
    return loop(body, steps, (x, sampler.init(x)), table, given)[0]


def python_loop(
    body: Body,
    steps: int,
    carry: Carry,
    table: Tensor,
    given: Any,
    on_step: Callable[[int], object] | None = None,
) -> Carry:
    """Runs step by step from Python; after each, `on_step` gets the number of steps done."""
    for t in range(steps, 0, -1):
        row = ops.convert_to_tensor(table[t - 1])
        carry = body(ops.convert_to_tensor(t, dtype="int32"), row, carry, given)
        if on_step is not None:
            on_step(steps - t + 1)
    return carry


def graph_loop(body: Body, steps: Any, carry: Carry, table: Tensor, given: Any) -> Carry:
    """Runs all steps inside a graph or a compiled program."""

    def once(i: Tensor, carry: Carry) -> Carry:
        t = steps - i
        return body(t, table[t - 1], carry, given)

    return ops.fori_loop(0, steps, once, carry)
