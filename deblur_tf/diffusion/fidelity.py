"""The trade of perception against distortion, as measured for one model.

One look, or the mean of many samples, is nearest to the truth and soft; more steps draw
more, and depart from it (Blau and Michaeli, 2018; DvSR sec. 4.1). Which settings do what is
a property of the model, so the curve travels with it.
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
    """Settings, and what was measured with them.

    Attributes:
      settings: to sample with.
      psnr: in dB; higher is less distortion.
      perception: in the metric of the curve; lower is better.
    """

    settings: SamplingSettings
    psnr: float
    perception: float


@dataclasses.dataclass(frozen=True)
class FidelityCurve:
    """Points of which none is better than another in both respects.

    Attributes:
      metric: of perception, by its name in `deblur_tf.metrics`.
      source: what it was measured on.
      points: from the least distortion to the best perception.
    """

    metric: str
    source: str
    points: tuple[Point, ...]

    def at(self, fidelity: float) -> SamplingSettings:
        """The settings whose PSNR is nearest to the wanted share of the curve's range.

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
        """Plain values, for `from_json`."""
        points = [
            {**dataclasses.asdict(p.settings), "psnr": p.psnr, self.metric: p.perception}
            for p in self.points
        ]
        return {"metric": self.metric, "source": self.source, "points": points}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> FidelityCurve:
        """What `to_json` gave.

        Raises:
          KeyError, TypeError, ValueError: if it is something else.
        """
        return curve_of(values["points"], values["metric"], values["source"])


def curve_of(rows: Sequence[Mapping[str, Any]], metric: str, source: str) -> FidelityCurve:
    """The curve of measured settings: those that nothing else surpasses in both respects.

    Args:
      rows: fields of `SamplingSettings`, "psnr" and `metric` each.
      metric: of perception; lower is better.
      source: what was measured.

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
