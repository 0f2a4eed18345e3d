r"""Lists training runs, and plots their losses and validation.

  deblur-runs list runs/
  deblur-runs plot runs/a runs/b -o plot.png
  deblur-runs plot runs/ --quantity=loss --quantity=learning_rate -o plot.png

list: steps, checkpoints and best validation of each run below the folders, and the settings in
which they differ.
plot: a panel for each quantity that was logged, a line for each run.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from absl import flags

from deblur_tf.bin import common

_QUANTITY = flags.DEFINE_multi_string(
    "quantity", [], "plot: what to plot. Repeatable. Default: loss and psnr_restored."
)
_OUTPUT = flags.DEFINE_string("output", None, "plot: file of the plot, PNG.", short_name="o")


def main(argv: Sequence[str]) -> int:
    from deblur_tf.training import histories

    command, *folders = argv[1:] or [""]
    if command not in ("list", "plot") or not folders:
        raise common.UsageError("give list or plot, and folders with runs")
    runs = histories.find(folders)
    if command == "list":
        print(histories.table(runs))
        return common.OK
    if not _OUTPUT.value:
        raise common.UsageError("-o/--output is missing")
    histories.plot(runs, pathlib.Path(_OUTPUT.value), _QUANTITY.value)
    print(f"{len(runs)} run(s): {_OUTPUT.value}")
    return common.OK


def entry() -> None:
    common.run(main, __doc__, max_arguments=1000)


if __name__ == "__main__":
    entry()
