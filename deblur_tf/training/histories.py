"""What training runs have recorded: steps, losses, validation, settings. Needs no Keras."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from deblur_tf.base.bindings import parsed
from deblur_tf.base.errors import UsageError
from deblur_tf.base.files import replacing
from deblur_tf.storage.model_folders import CHECKPOINTS

CONFIG_FILE, METRICS_FILE = "config.gin", "metrics.jsonl"
# The validation figure by which the best checkpoint is chosen.
SCORE = "psnr_restored"


@dataclasses.dataclass(frozen=True)
class History:
    """A run's records.

    Attributes:
      folder: the run directory.
      settings: its settings by name.
      records: what it logged: dictionaries with "step".
      checkpoints: names of its checkpoints, oldest first.
    """

    folder: pathlib.Path
    settings: dict[str, str]
    records: list[dict[str, float]]
    checkpoints: list[str]

    @property
    def step(self) -> int:
        """The last step that was logged."""
        return int(max((record["step"] for record in self.records), default=0))

    def series(self, name: str) -> list[tuple[int, float]]:
        """(step, value) of a logged quantity."""
        return [(int(r["step"]), r[name]) for r in self.records if name in r]

    def best(self, name: str = SCORE) -> tuple[int, float] | None:
        """Step and value of the best validation, or None."""
        return max(self.series(name), key=lambda entry: entry[1], default=None)


def read(folder: str | os.PathLike[str]) -> History:
    """The records of a run; a line that a kill has cut short is left out.

    Raises:
      UsageError: if the folder is no run directory.
    """
    folder = pathlib.Path(folder)
    if not (folder / CONFIG_FILE).is_file():
        raise UsageError(f"{folder}: no run directory of deblur-train (no {CONFIG_FILE})")
    records = []
    if (folder / METRICS_FILE).is_file():
        for line in (folder / METRICS_FILE).read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                records.append(json.loads(line))
    return History(
        folder,
        parsed((folder / CONFIG_FILE).read_text(encoding="utf-8")),
        records,
        sorted(path.stem for path in (folder / CHECKPOINTS).glob("step_*.npz")),
    )


def find(roots: Sequence[str]) -> list[History]:
    """The runs in folders, each itself a run or a folder with runs at any depth.

    Raises:
      UsageError: if a folder is missing, or there is no run in any.
    """
    found: dict[pathlib.Path, History] = {}
    for root in map(pathlib.Path, roots):
        if not root.is_dir():
            raise UsageError(f"{root}: no such folder")
        for path in sorted(root.rglob(CONFIG_FILE)):
            found.setdefault(path.parent, read(path.parent))
    if not found:
        raise UsageError(f"{', '.join(roots)}: no runs of deblur-train there")
    return list(found.values())


def differing(runs: Sequence[History]) -> list[str]:
    """Names of the settings in which runs differ."""
    names = sorted({name for run in runs for name in run.settings})
    return [name for name in names if len({run.settings.get(name) for run in runs}) > 1]


def table(runs: Sequence[History]) -> str:
    """Steps, checkpoints and best validation of each run, and the settings that differ."""
    lines = [
        "| run | steps | checkpoints | best validation (dB) | at step |",
        "|---|---|---|---|---|",
    ]
    for run in runs:
        step, value = run.best() or ("", None)
        shown = "" if value is None else f"{value:.2f}"
        last = f"{len(run.checkpoints)}, last {run.checkpoints[-1]}" if run.checkpoints else "0"
        total = run.settings.get("TOTAL_STEPS") or run.settings.get("Recipe.total_steps", "?")
        lines.append(f"| {run.folder} | {run.step} of {total} | {last} | {shown} | {step} |")
    for name in differing(runs):
        lines.append(f"\n{name}:")
        lines += [f"  {run.folder}: {run.settings.get(name, '(not set)')}" for run in runs]
    return "\n".join(lines)


def plot(runs: Sequence[History], path: pathlib.Path, names: Sequence[str] = ()) -> None:
    """Logged quantities over the steps, a panel for each and a line for each run, as PNG.

    Args:
      runs: the runs.
      path: file of the plot.
      names: quantities; none: the loss and the validation.

    Raises:
      UsageError: if no run has logged one of them.
    """
    from matplotlib.figure import Figure

    chosen: list[Any] = list(names) or ["loss", SCORE]
    for name in names:
        if not any(run.series(name) for run in runs):
            known = sorted({key for run in runs for r in run.records for key in r} - {"step"})
            raise UsageError(f"no run has logged {name!r}; there are {', '.join(known)}")
    figure = Figure(figsize=(5.5 * len(chosen), 4), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(chosen), squeeze=False)[0], chosen, strict=True):
        for run in runs:
            if points := run.series(name):
                axis.plot(*zip(*points, strict=True), label=str(run.folder), linewidth=1)
        axis.set(xlabel="step", ylabel="PSNR (dB)" if name.startswith("psnr") else name, title=name)
        axis.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=7)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=120)
