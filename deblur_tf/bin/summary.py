r"""Prints the size of each network of the papers beside the printed figures.

  deblur-summary
  deblur-summary --csv

GFLOPs are of one forward pass at 720x1280 (guidance and one denoising step),
two operations per multiply-add, convolutions and dense layers only.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence

from absl import flags

from deblur_tf.bin import common

_CSV = flags.DEFINE_bool("csv", False, "Comma-separated values instead of a table.")

HEADER = (
    "network",
    "source",
    "guide ch",
    "UNet ch",
    "params (M)",
    "paper (M)",
    "GFLOPs",
    "paper GFLOPs",
)


def main(argv: Sequence[str]) -> int:
    del argv
    from deblur_tf.models.architectures import ARCHITECTURES, sizes

    rows = []
    for number, row in enumerate(ARCHITECTURES, 1):
        print(f"[{number}/{len(ARCHITECTURES)}] {row.name}", file=sys.stderr, flush=True)
        millions, gflops = sizes(row)
        rows.append(
            (
                row.name,
                row.source,
                str(row.guide_channels or "-"),
                str(row.unet_channels),
                f"{millions:.3f}",
                f"{row.paper_params:g}",
                f"{gflops:.1f}",
                f"{row.paper_gflops:g}",
            )
        )
    if _CSV.value:
        csv.writer(sys.stdout, lineterminator="\n").writerows([HEADER, *rows])
        return common.OK
    widths = [max(len(r[i]) for r in [HEADER, *rows]) for i in range(len(HEADER))]
    for row in [HEADER, *rows]:
        cells = [
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
    return common.OK


def entry() -> None:
    common.run(main, __doc__)


if __name__ == "__main__":
    entry()
