"""Whether a report may stand in a cell: of that row, by that protocol, of the whole test set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deblur_tf.reproduction.contents import Measurement


def refusal(report: Mapping[str, Any], made: Measurement, smoke: bool = False) -> str:
    """Why a report is not the result of a row; "" if it is.

    Args:
      report: `report.json` of an evaluation.
      made: the measurement whose result it should be.
      smoke: whether reports of a smoke run are accepted, and no others.
    """
    settings = report.get("settings", {})
    if smoke or settings.get("smoke"):
        return "" if smoke and settings.get("smoke") else "it is of a smoke run"
    row = settings.get("row")
    if not row:
        return "it does not say which row it is of: measure with --gin_file"
    if row["gin_files"] != [made.gin_file] or row["protocol"] != made.protocol:
        protocol = f" --protocol={row['protocol']}" if row["protocol"] else ""
        return f"it is of {' '.join(row['gin_files'])}{protocol}"
    if row["changes"]:
        return f"it has other settings than the row: {'; '.join(row['changes'])}"
    if row["model_fits"] is False:
        return "its model is not the row's"
    if settings.get("size") != "whole images":
        return f"it is of {settings.get('size')}, not of whole images"
    if settings.get("limit") or "shard" in settings:
        return "it is of a part of the test set"
    if row.get("pictures") and report["pictures"] != row["pictures"]:
        return f"it is of {report['pictures']} pictures; the test set has {row['pictures']}"
    return ""


def notes(report: Mapping[str, Any], metric: str) -> str:
    """What a reader must know of a value beside the paper's: point, choice, own statistics."""
    settings = report.get("settings", {})
    sampling = settings.get("sampling") or {}
    texts = []
    if "steps" in sampling:
        beta_max = sampling.get("beta_max")
        least = "" if beta_max is None else f", beta_max {beta_max}"
        texts.append(f"{sampling['steps']} steps{least}")
    if choice := report.get("choice"):
        texts.append(f"{choice} (ours)" if choice.startswith("fixed") else choice)
    if metric == "niqe" and own_statistics(report):
        texts.append("NIQE by statistics of one's own photographs")
    return "; ".join(texts)


def own_statistics(report: Mapping[str, Any]) -> bool:
    """Whether NIQE was measured by other statistics than the published ones."""
    return bool(report.get("metrics", {}).get("niqe", {}).get("own", False))
