"""What a table row is tested on and how it is sampled, as one gin-configured object."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from deblur_tf.base.errors import UsageError
from deblur_tf.base.registry import configurable
from deblur_tf.diffusion.sampling import SamplingSettings, sampling_grid

BETA_MAXES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


@configurable
def icdpm_grid() -> tuple[tuple[int, float], ...]:
    """The (steps, beta_max) of icDPM's Table 12: 19 combinations."""
    return sampling_grid((20, 30, 50, 100, 200, 500, 1000), BETA_MAXES, 5.0, 50.0)


@configurable
def dvsr_grid() -> tuple[tuple[int, float], ...]:
    """The (steps, beta_max) of DvSR's app. F: all 48 combinations."""
    return sampling_grid((10, 20, 30, 50, 100, 200, 300, 500), BETA_MAXES)


# Numbers of samples that are averaged in DvSR's fig. 1 and 7, which do not print them: ours.
AVERAGED = (2, 4, 8, 16)


@configurable
def dvsr_tradeoff() -> tuple[tuple[int, float] | tuple[int, float, int], ...]:
    """The points of DvSR's fig. 1 and 7: `dvsr_grid`, and means of several samples in 10 steps."""
    return (*dvsr_grid(), *((10, 0.5, n) for n in AVERAGED))


def read_points(text: Sequence[str]) -> tuple[tuple[int, float], ...]:
    """Points of a grid from a command line, e.g. ["20:0.5", "100:0.1"].

    Raises:
      UsageError: if a point cannot be read; the message names it.
    """
    found = []
    for point in text:
        try:
            steps, beta_max = point.split(":")
            found.append((int(steps), float(beta_max)))
        except ValueError as error:
            raise UsageError(f"--points: {point!r} is not like 20:0.5 (steps:beta_max)") from error
    return tuple(found)


@configurable
@dataclasses.dataclass(frozen=True)
class Protocol:
    """Test set, metrics and sampling of a table row.

    All pictures are whole, in RGB, rounded to 8 bits, and no border is left out.

    Attributes:
      name: name with version, e.g. "gopro-v1"; figures under the same name are comparable.
      dataset: "name/configuration" of a prepared data set.
      split: split of the data set.
      metrics: names of the metrics.
      steps: sampling steps.
      beta_max: largest noise variance of a step; None: fitted to `steps`.
      n_samples: samples that are averaged.
      grid: points (steps, beta_max) to sample with, in place of `steps` and `beta_max`, or
        (steps, beta_max, n_samples).
      choose: metric by which one point of the grid is chosen, on this test set as in the papers,
        and then measured by all metrics; "": each point is measured by all.
      choose_kind: "sample" or "mean", of which the metric is taken.
      pictures: number of pictures in the whole test set; 0: not known.
    """

    name: str = ""
    dataset: str | None = None
    split: str = "test"
    metrics: Sequence[str] = ("psnr", "ssim", "ssim_matlab")
    steps: int = 20
    beta_max: float | None = None
    n_samples: int = 1
    grid: Sequence[tuple[int, float] | tuple[int, float, int]] = ()
    choose: str = ""
    choose_kind: str = "sample"
    pictures: int = 0

    def fixed(self) -> SamplingSettings:
        """The settings without the grid."""
        return SamplingSettings(self.steps, self.beta_max, self.n_samples)

    def points(self) -> tuple[SamplingSettings, ...]:
        """The settings to sample with."""
        points = tuple(self.grid) or ((self.steps, self.beta_max),)
        return tuple(
            SamplingSettings(point[0], point[1], point[2] if len(point) > 2 else self.n_samples)
            for point in points
        )
