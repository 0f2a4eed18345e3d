r"""Demonstrates restoration and training with bundled data only; `run.sh` calls it.

  python -m deblur_tf.bin.demo -o demo/

(a) restores a genuinely motion-blurred photograph that comes with scikit-image; (b)
restores crops of sharp ones under realistic blur, and measures PSNR and SSIM; (c) trains
a small model from start to checkpoint and restores with it. Writes table.md and sheet.png,
whose first row is the real photograph.
"""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Sequence

from absl import flags

from deblur_tf.bin import common

_OUTPUT = flags.DEFINE_string("output", "demo", "Output folder, made if missing.", short_name="o")
_STEPS = flags.DEFINE_integer("steps", 200, "Training steps in (c).", 20)
_CROP = flags.DEFINE_integer("crop", 256, "Side of the crops in (b), in pixels.", 32)


def _program(name: str, *arguments: str) -> None:
    """Runs one of the programs, as a user would."""
    command = [sys.executable, "-m", f"deblur_tf.bin.{name}", *arguments]
    print(f"\n$ deblur-{name} {' '.join(arguments)}", flush=True)
    code = subprocess.run(command, check=False).returncode
    if code:
        sys.exit(common.fail(f"deblur-{name} ended with exit code {code}", common.FAILED))


def main(argv: Sequence[str]) -> int:
    del argv
    from PIL import Image

    from deblur_tf.data import photos
    from deblur_tf.evaluation.sheets import picture_sheet

    output = pathlib.Path(_OUTPUT.value)
    output.mkdir(parents=True, exist_ok=True)

    print("(a) a genuinely motion-blurred photograph")
    clock = photos.motion_blurred_photo()
    real = output / "real"
    _program("restore", "-i", str(clock), "-o", str(real), "--overwrite", "--always")

    print("\n(b) sharp photographs under realistic blur")
    bundled = output / "photos"
    bundled.mkdir(exist_ok=True)
    for path in photos.bundled_photos():
        (bundled / path.name).write_bytes(path.read_bytes())
    synthetic = output / "synthetic"
    _program(
        *("evaluate", "model", f"--photos={bundled}", "--blur=realistic"),
        *(f"--crop={_CROP.value}", "-o", str(synthetic)),
    )

    print("\n(c) training from start to checkpoint, and restoring with the result")
    run_dir = output / "run"
    shutil.rmtree(run_dir, ignore_errors=True)  # a finished run would not train again
    steps = f"--gin_param=TOTAL_STEPS = {_STEPS.value}"
    _program("train", "--gin_file=smoke.gin", f"--run_dir={run_dir}", steps)
    records = [json.loads(line) for line in (run_dir / "metrics.jsonl").open()]
    losses = [r["denoising"] for r in records if "denoising" in r]
    print(
        f"denoising loss {losses[0]:.4f} at the first progress line, {losses[-1]:.4f} at the last"
    )
    if not losses[-1] < losses[0]:
        return common.fail("the loss of the training run did not fall", common.FAILED)
    trained = output / "trained"
    _program(
        *("restore", "-i", str(clock), "-o", str(trained), "-m", str(run_dir)),
        *("--overwrite", "--always"),
    )

    titles = ["blurred photograph", "restored"]
    clocks = [photos.read_rgb(path) for path in (clock, real / clock.name)]
    top, bottom = picture_sheet([clocks], titles), Image.open(synthetic / "sheet.png")
    sheet = Image.new("RGB", (max(top.width, bottom.width), top.height + bottom.height), "white")
    sheet.paste(top, (0, 0))
    sheet.paste(bottom, (0, top.height))
    sheet.save(output / "sheet.png")
    table = (synthetic / "table.md").read_text()
    (output / "table.md").write_text(table)
    print(f"\n{table}")
    print(f"picture sheet: {output / 'sheet.png'}")
    return common.OK


def entry() -> None:
    common.run(main, __doc__)


if __name__ == "__main__":
    entry()
