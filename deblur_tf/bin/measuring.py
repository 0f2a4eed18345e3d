"""What `deblur-evaluate` measures by, and which row of a paper its reports belong to."""

from __future__ import annotations

import copy
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from deblur_tf.base.files import remove_partials
from deblur_tf.base.locks import locked
from deblur_tf.bin import common


def read_shard(text: str) -> tuple[int, int]:
    """Number and count of a part such as "2/8".

    Raises:
      UsageError: if it is none.
    """
    try:
        index, count = map(int, text.split("/"))
    except ValueError:
        index, count = 0, 0
    if not 1 <= index <= count:
        raise common.UsageError(f"--shard={text}: give a part such as 2/8")
    return index, count


class ChosenMetrics:
    """The requested metrics that can be measured; reports the others at once."""

    def __init__(self, names: Sequence[str], weights: str | None):
        from deblur_tf import metrics
        from deblur_tf.evaluation.features import MeasuredOnce

        self.weights = weights
        self.missing: dict[str, str] = {}
        self.found = metrics.choose(names, weights, self._tell)
        self.once = MeasuredOnce()
        if not self.found:
            raise common.UsageError("none of the metrics can be measured")
        self.settings = {m.name: dict(m.about) for m in self.found}

    def only(self, name: str) -> ChosenMetrics | None:
        """The metric of that name alone; None if it cannot be measured."""
        from deblur_tf import metrics
        from deblur_tf.evaluation.features import MeasuredOnce

        known = [m for m in self.found if m.name == name]
        if not known and name not in self.missing:
            known = list(metrics.choose([name], self.weights, self._tell))
        if not known:
            return None
        one = copy.copy(self)
        one.found, one.once = tuple(known), MeasuredOnce()
        one.settings = {m.name: dict(m.about) for m in known}
        return one

    def _tell(self, name: str, why: str) -> None:
        same = next((other for other, reason in self.missing.items() if reason == why), None)
        print(f"not measured: {name}: {f'as {same}' if same else why}", file=sys.stderr, flush=True)
        self.missing[name] = why


def row_of(
    model: Any, gin_files: Sequence[str], protocol: str, changes: Sequence[str]
) -> dict[str, Any] | None:
    """What says whether a report belongs to a row: its files, and whether the model is its own."""
    if not gin_files:
        return None
    from deblur_tf import config
    from deblur_tf.base.errors import ConfigError
    from deblur_tf.models import saved

    try:
        config.reference("Recipe.model")
        fits = saved.same_architecture(model, config.build("Recipe").model)
    except ConfigError:
        fits = None  # no file says which model it is
    return {
        "gin_files": list(gin_files),
        "protocol": protocol,
        "changes": list(changes),
        "model_fits": fits,
        "pictures": config.build("Protocol").pictures,
    }


def grid_cost(model: Any, points: Sequence[Any], pairs: Any, limit: int) -> str:
    """A line on what a grid takes: pictures, evaluations of the network, operations.

    Operations are counted at 256x256 and scaled to the size of the first picture.
    """
    from deblur_tf.models.flops import count_flops

    count = min(limit or len(pairs), len(pairs))
    evaluations = sum(point.evaluations for point in points)
    height, width = pairs[0].sharp.shape[:2]
    side = -(-256 // model.size_multiple) * model.size_multiple
    flops = count_flops(model, side, side) / side**2 * height * width * evaluations * count
    return (
        f"{len(points)} points, {count} pictures: {evaluations} evaluations of the network per "
        f"picture, about {flops / 1e15:.3g} PFLOP in all"
    )


class Measured(NamedTuple):
    """Result of `measure`.

    Attributes:
      outcome: of the whole set once it is measured, else of this process's part; None if all was
        done before.
      whole: whether the whole set is measured.
    """

    outcome: Any
    whole: bool


def measure(
    folder: pathlib.Path,
    settings: dict[str, Any],
    notes: dict[str, Any],
    chosen: ChosenMetrics,
    part: tuple[int, int],
    limit: int,
    save: bool,
    **arguments: Any,
) -> Measured:
    """An evaluation with a progress bar.

    A part of one is written to a folder of its own within `folder`. The process that measures the
    last part merges all of them.

    Raises:
      UsageError: if another process is writing into the folder.
    """
    from deblur_tf.evaluation import merging, report, runner

    def at(place: pathlib.Path, own_settings: dict[str, Any]) -> Any:
        place.mkdir(parents=True, exist_ok=True)
        with locked(place):
            remove_partials(place)
            results = report.Report(place, own_settings, chosen.found, save=save, notes=notes)
            if results.done:
                print(f"{place}: done before with these settings", flush=True)
                return None
            return _with_bar(chosen, results, limit, runner.Shard(*part), arguments)

    if part == (1, 1):
        return Measured(at(folder, settings), True)
    if report.Report(folder, settings, chosen.found, save=save).done:
        print(f"{folder}: done before with these settings", flush=True)
        return Measured(None, True)
    index, count = part
    own = merging.shard_folders(folder, count)[index - 1]
    outcome = at(own, {**settings, "shard": [index, count]})
    merged = merging.merge_if_finished(folder, settings, chosen.found, count)
    if merged is not None:
        return Measured(merged, True)
    print(f"{own}: part {index} of {count} is measured", flush=True)
    return Measured(outcome, merging.is_measured(folder, settings))


def _with_bar(
    chosen: ChosenMetrics, results: Any, limit: int, shard: Any, arguments: dict[str, Any]
) -> Any:
    """The outcome of `runner.evaluate`, with a progress bar and a line for each picture."""
    from tqdm import tqdm

    from deblur_tf.base.progress import bar
    from deblur_tf.base.words import printable
    from deblur_tf.evaluation import runner

    pairs = arguments["pairs"]
    total = len(shard.of(min(limit or len(pairs), len(pairs))))
    with bar(total=total, unit="image") as images:

        def tell(line: str) -> None:
            images.update()
            tqdm.write(printable(line))

        return runner.evaluate(
            metrics=chosen.found,
            report=results,
            limit=limit,
            shard=shard,
            on_image=tell,
            **arguments,
        )
