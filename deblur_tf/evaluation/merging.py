"""Puts together what several processes measured of one test set."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from deblur_tf.errors import UsageError
from deblur_tf.evaluation.report import (
    FEATURES,
    PICTURES,
    REPORT_FILE,
    ROWS,
    SETTINGS_FILE,
    Report,
)
from deblur_tf.evaluation.runner import FeatureStore, Outcome, summarise
from deblur_tf.metrics.base import Metric


@dataclasses.dataclass(frozen=True)
class _Measured:
    """A `Subject` that was measured."""

    labels: Mapping[str, str]
    columns: Mapping[str, str]
    made: str


def _read(folder: str | os.PathLike[str], name: str) -> dict[str, Any]:
    path = pathlib.Path(folder) / name
    if not path.is_file():
        raise UsageError(f"{folder}: not a finished evaluation (no {name})")
    return json.loads(path.read_text(encoding="utf-8"))


def metric_names(folder: str | os.PathLike[str]) -> tuple[str, ...]:
    """What a finished evaluation measured."""
    return tuple(_read(folder, REPORT_FILE)["metrics"])


def merge(
    folders: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    metrics: Sequence[Metric],
) -> Outcome:
    """One report from the finished reports of all shards of a test set.

    Args:
      folders: of the shards, in any order.
      output: gets the report; features and pictures are copied there.
      metrics: those that the shards measured.

    Raises:
      UsageError: if a shard is missing or twice, or made with other settings.
    """
    settings = {folder: _read(folder, SETTINGS_FILE) for folder in folders}
    shards: dict[int, str | os.PathLike[str]] = {}
    first = next(iter(settings.values()))
    for folder, own in settings.items():
        index, count = own.get("shard", (0, 0))
        if own | {"shard": 0} != first | {"shard": 0} or count != first.get("shard", (0, 0))[1]:
            other = next(k for k in own if k != "shard" and own[k] != first.get(k))
            raise UsageError(f"{folder}: measured with other settings ({other}) than {folders[0]}")
        if index in shards:
            raise UsageError(f"{folder}: the same shard as {shards[index]}")
        shards[index] = folder
    missing = [i for i in range(1, count + 1) if i not in shards]
    if missing or not count:
        raise UsageError(f"shards of {count} are missing: {', '.join(map(str, missing)) or 'all'}")
    wanted = {name: dict(about) for name, about in first["metrics"].items()}
    if {m.name: json.loads(json.dumps(dict(m.about))) for m in metrics} != wanted:
        raise UsageError(
            "metrics or their weights are not those that the shards were measured with"
        )

    last = _read(shards[1], REPORT_FILE)
    subject = _Measured(last["labels"], last["columns"], last["made"])
    kinds = [*last["kinds"]]
    whole = Report(output, {k: v for k, v in first.items() if k != "shard"}, metrics)
    parts, failed = [], []
    for index in sorted(shards):
        folder = pathlib.Path(shards[index])
        failed += _read(folder, REPORT_FILE)["failed"]
        part = Report(folder, settings[shards[index]], metrics)
        parts.append(list(part.start(kinds).items()))
        for name in (FEATURES, PICTURES, ROWS):
            if (folder / name).is_dir():
                shutil.copytree(folder / name, whole.folder / name, dirs_exist_ok=True)
    # Shard i of n has pictures i, i + n, ...: back in their order.
    in_order = [item for row in itertools.zip_longest(*parts) for item in row if item]
    found = dict(in_order)
    whole.found = found
    whole.start(kinds)
    title = last["title"]
    store = FeatureStore(whole.folder / FEATURES)
    return summarise(subject, found, metrics, store, title, failed, whole)
