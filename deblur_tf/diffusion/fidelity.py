"""The perception-distortion trade-off, as measured for one model.

One sampling step, or the mean of many samples, is closest to the ground truth but soft; more
steps add detail that departs from it (Blau and Michaeli, 2018; DvSR sec. 4.1). The effect of
the settings depends on the model, so the curve is stored with the model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from deblur_tf.base.errors import UsageError
from deblur_tf.diffusion.sampling import SamplingSettings

_SETTINGS = [field.name for field in dataclasses.fields(SamplingSettings)]


@dataclasses.dataclass(frozen=True)
class Point:
    """Sampling settings, and the quality measured with them.

    Attributes:
      settings: how to sample.
      psnr: in dB; higher means less distortion.
      perception: value of the curve's perceptual metric; lower is better.
    """

    settings: SamplingSettings
    psnr: float
    perception: float


@dataclasses.dataclass(frozen=True)
class FidelityCurve:
    """Pareto front: no point is better than another in both PSNR and perception.

    Attributes:
      metric: name of the perceptual metric in `deblur_tf.metrics`.
      source: the data that it was measured on.
      points: from the least distortion to the best perception.
    """

    metric: str
    source: str
    points: tuple[Point, ...]

    def at(self, fidelity: float) -> SamplingSettings:
        """The settings whose PSNR is nearest to a given fraction of the curve's PSNR range.

        Args:
          fidelity: from 0, the best perception, to 1, the least distortion.

        Raises:
          UsageError: if it is outside of [0, 1].
        """
        if not 0.0 <= fidelity <= 1.0:
            raise UsageError(f"fidelity must be in [0, 1], got {fidelity:g}")
        low, high = self.points[-1].psnr, self.points[0].psnr
        wanted = low + fidelity * (high - low)
        return min(self.points, key=lambda point: abs(point.psnr - wanted)).settings

    def to_json(self) -> dict[str, Any]:
        """A dictionary of JSON values, from which `from_json` restores the curve."""
        points = [
            {**dataclasses.asdict(p.settings), "psnr": p.psnr, self.metric: p.perception}
            for p in self.points
        ]
        return {"metric": self.metric, "source": self.source, "points": points}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> FidelityCurve:
        """The inverse of `to_json`.

        Raises:
          KeyError, TypeError, ValueError: if `values` is not a result of `to_json`.
        """
        return curve_of(values["points"], values["metric"], values["source"])


def curve_of(rows: Sequence[Mapping[str, Any]], metric: str, source: str) -> FidelityCurve:
    """The Pareto front of measured settings in PSNR and perception.

    Args:
      rows: measurements, each with fields of `SamplingSettings`, "psnr" and `metric`.
      metric: name of the perceptual metric; lower is better.
      source: the data that was measured on.

    Raises:
      ValueError: if there is no row.
    """
    if not rows:
        raise ValueError("no settings were measured")
    points: list[Point] = []
    for row in sorted(rows, key=lambda row: (-float(row["psnr"]), float(row[metric]))):
        if not points or float(row[metric]) < points[-1].perception:
            settings = SamplingSettings(**{name: row[name] for name in _SETTINGS if name in row})
            points.append(Point(settings, float(row["psnr"]), float(row[metric])))
    return FidelityCurve(metric, source, tuple(points))
