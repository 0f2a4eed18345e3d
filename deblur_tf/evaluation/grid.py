"""Sampling grids: a table and plot of all points, and the best ones by the papers' rules."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from deblur_tf.base.errors import UsageError
from deblur_tf.base.files import replacing, write_csv
from deblur_tf.diffusion.fidelity import FidelityCurve, curve_of
from deblur_tf.diffusion.sampling import SamplingSettings
from deblur_tf.evaluation.report import REPORT_FILE

GRID_FILE, PLOT_FILE = "grid.csv", "grid.png"

# The papers' two ways of choosing a point: name, kind of picture, metric, sign.
RULES = (
    ("Ours", "sample", "lpips_alex", -1),
    ("Ours-SA", "mean", "psnr", 1),
)


def folder_name(point: SamplingSettings) -> str:
    """Name of the folder of a point's report."""
    sampler = "" if point.sampler == "ddpm" else f"_{point.sampler}"
    samples = "" if point.n_samples == 1 else f"_n{point.n_samples}"
    return f"T{point.steps}_beta{point.beta_max}{sampler}{samples}"


def rows(folder: pathlib.Path, points: Sequence[SamplingSettings]) -> list[dict[str, Any]]:
    """A row for each point and kind of picture: settings, figures, seconds per picture.

    Points that differ in the number of samples alone share their first sample, which has one row.
    """
    found, alone = [], set()
    for point in points:
        path = folder / folder_name(point) / REPORT_FILE
        if not path.exists():
            continue
        report = json.loads(path.read_text(encoding="utf-8"))
        first = dataclasses.replace(point, n_samples=1)
        kinds = ("mean",) if first in alone else ("sample", "mean")
        alone.add(first)
        for kind in kinds:
            if kind in report["means"]:
                about = {"kind": kind, "steps": point.steps, "beta_max": point.beta_max}
                about |= {"n_samples": point.n_samples if kind == "mean" else 1}
                about |= {"sampler": point.sampler, "eta": point.eta}
                means = {k: float(v) for k, v in report["means"][kind].items()}
                seconds = report["seconds_a_picture"]
                if seconds is not None and kind == "sample":
                    seconds /= point.n_samples
                found.append({**about, **means, "seconds": seconds})
    return found


def best(found: Sequence[dict[str, Any]], kind: str, metric: str, sign: int) -> Any:
    """The row of a kind with the best figure, or None; ties go to fewer steps."""
    rows_of = [r for r in found if r["kind"] == kind and math.isfinite(r.get(metric, math.nan))]
    return max(rows_of, key=lambda r: (sign * r[metric], -r["steps"]), default=None)


def chosen(
    folder: pathlib.Path, points: Sequence[SamplingSettings], kind: str, metric: str
) -> SamplingSettings:
    """The measured point with the best figure of a metric, see `best`.

    Raises:
      UsageError: if no point has that figure.
    """
    row = best(rows(folder, points), kind, metric, -1 if metric in PERCEPTION else 1)
    if row is None:
        raise UsageError(f"{folder}: no point of the grid has {metric} of a {kind}")
    names = ("steps", "beta_max", *(["n_samples"] if kind == "mean" else []))
    return next(p for p in points if all(getattr(p, n) == row[n] for n in names))


def summarise(folder: pathlib.Path, points: Sequence[SamplingSettings]) -> str:
    """Writes grid.csv and grid.png from the points' reports; returns the best as text.

    "Ours" is the point with the best LPIPS of one sample, chosen on the set that it is reported
    on, as in the papers (icDPM app. C.2, DvSR sec. 4.1). The papers print no rule for the mean
    of several samples, "Ours-SA": the point with the best PSNR is our choice.
    """
    found = rows(folder, points)
    if not found:
        return "no point of the grid was measured"
    write_csv(folder / GRID_FILE, found)
    plot(folder / PLOT_FILE, found)
    lines = []
    for name, kind, metric, sign in RULES:
        if row := best(found, kind, metric, sign):
            lines.append(
                f"{name} (best {metric} of one {kind}): {row['steps']} steps, beta_max "
                f"{row['beta_max']}, {metric} {row[metric]:.4g}".replace("one mean", "the mean")
            )
        else:
            lines.append(
                f"{name}: needs {metric} of {'several samples' if kind == 'mean' else kind}"
            )
    return "\n".join(lines)


def read_curve(path: str | os.PathLike[str], metric: str) -> FidelityCurve:
    """Reads the curve of perception against distortion from a grid.csv.

    Args:
      path: path of the file.
      metric: column with the perception metric; lower is better.

    Raises:
      OSError, ValueError, KeyError: if the file cannot be read or lacks a needed column.
    """
    numbers = {"steps": int, "n_samples": int, "beta_max": float, "eta": float}
    with open(path, newline="", encoding="utf-8") as file:
        rows = [
            {k: numbers.get(k, str)(v) for k, v in row.items() if v} for row in csv.DictReader(file)
        ]
    return curve_of(rows, metric, str(path))


# Axes of the plots: metrics of distortion and of perception, with their labels.
DISTORTION = {"psnr": "PSNR (dB)", "ssim_matlab": "SSIM (MATLAB 3-D)"}
PERCEPTION = {
    "lpips_alex": "LPIPS (Alex), lower is better",
    "niqe": "NIQE, lower is better",
    "fid": "FID, lower is better",
    "kid": "KID (x1000), lower is better",
}


def plot(path: pathlib.Path, found: Sequence[dict[str, Any]]) -> None:
    """Perception against distortion (icDPM fig. 5, DvSR fig. 7), and both against time (fig. 6).

    One row of panels for each perception metric that was measured, one column for each
    distortion metric and one for time. Without a perception metric, distortion against time.
    """
    from matplotlib.figure import Figure

    found = [row for row in found if row["seconds"] is not None]  # else nothing was measured
    names = {**DISTORTION, **PERCEPTION, "seconds": "seconds per picture"}
    have = {name for name in names if found and all(name in row for row in found)}
    columns = [*(name for name in DISTORTION if name in have), "seconds"]
    rows_of_panels = [name for name in PERCEPTION if name in have] or ["psnr"]
    panels = [[(x, y) for x in columns if {x, y} <= have and x != y] for y in rows_of_panels]
    width = max(len(row) for row in panels) or 1
    figure = Figure(figsize=(4.5 * width, 3.6 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), width, squeeze=False)
    for axis, (x, y) in (
        (a, p) for r, q in zip(axes, panels, strict=True) for a, p in zip(r, q, strict=False)
    ):
        for kind, marker in (("sample", "o"), ("mean", "s")):
            points = [row for row in found if row["kind"] == kind]
            for steps in sorted({row["steps"] for row in points}):
                line = sorted((r for r in points if r["steps"] == steps), key=lambda r: r[x])
                label = f"{steps} steps, {'one sample' if kind == 'sample' else 'mean'}"
                xs, ys = [r[x] for r in line], [r[y] for r in line]
                axis.plot(xs, ys, marker=marker, markersize=4, linewidth=0.8, label=label)
                if len({r["n_samples"] for r in line}) > 1:
                    for r, place in zip(line, zip(xs, ys, strict=True), strict=True):
                        axis.annotate(
                            f"n={r['n_samples']}",
                            place,
                            xytext=(4, -8),
                            textcoords="offset points",
                            fontsize=7,
                        )
        axis.set(xlabel=names[x], ylabel=names[y])
        axis.grid(alpha=0.3)
    if have:
        axes[0][0].legend(fontsize=7)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=120)
