"""What a table row is tested on and how it is sampled, as one gin-configured object."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from deblur_tf.diffusion.schedules import SamplingSettings, sampling_grid
from deblur_tf.registry import configurable

BETA_MAXES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


@configurable
def icdpm_grid() -> tuple[tuple[int, float], ...]:
    """The (steps, beta_max) of icDPM's Table 12: 19 combinations."""
    return sampling_grid((20, 30, 50, 100, 200, 500, 1000), BETA_MAXES, 5.0, 50.0)


@configurable
def dvsr_grid() -> tuple[tuple[int, float], ...]:
    """The (steps, beta_max) of DvSR's app. F: all 48 combinations."""
    return sampling_grid((10, 20, 30, 50, 100, 200, 300, 500), BETA_MAXES)


@configurable
@dataclasses.dataclass(frozen=True)
class Protocol:
    """Test set and sampling of a table row.

    Attributes:
      dataset: "name/configuration" of a prepared data set.
      split: of it.
      note: what sets this apart from the papers' figures, printed with each table.
      steps: sampling steps.
      beta_max: largest noise variance of a step; None: fitted to `steps`.
      n_samples: samples that are averaged.
      grid: (steps, beta_max) to try in place of the two above.
    """

    dataset: str | None = None
    split: str = "test"
    steps: int = 20
    beta_max: float | None = None
    n_samples: int = 1
    grid: Sequence[tuple[int, float]] = ()
    note: str = ""

    def points(self) -> tuple[SamplingSettings, ...]:
        """The settings to sample with."""
        pairs = tuple(self.grid) or ((self.steps, self.beta_max),)
        return tuple(SamplingSettings(*pair, self.n_samples) for pair in pairs)
