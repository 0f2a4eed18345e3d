"""How to sample, as keyword arguments."""

from __future__ import annotations

from typing import TypedDict


class Settings(TypedDict, total=False):
    """How to sample; a setting that is missing or None is taken from the model.

    Attributes:
      steps: number of sampling steps.
      beta_max: largest noise variance of a step; None with a number of steps other than the
        model's: fitted to that number.
      n_samples: how many samples to draw.
      sampler: name of one of `samplers.SAMPLERS`.
      eta: noise parameter of the sampler "ddim".
      fidelity: from 0 (best perception) to 1 (least distortion) along the curve that was
        measured for the model; replaces the model's own settings.
    """

    steps: int | None
    beta_max: float | None
    n_samples: int | None
    sampler: str | None
    eta: float | None
    fidelity: float | None
