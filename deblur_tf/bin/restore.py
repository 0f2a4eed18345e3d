r"""Restores a motion-blurred photo, or a folder of them.

  deblur-restore -i photo.jpg -o out/
  deblur-restore -i photos/ -o out/ -m runs/mine -n 4 --seed=7

Writes out/<name> of exactly the same size. With -n N > 1 that is the mean of N
samples, and each sample is written beside it as <name>_s<seed>_<i>. Files that
are already there are skipped unless --overwrite.

Exit codes: 0 all done, 1 some inputs failed, 2 usage error, 3 the model cannot
be loaded, 130 Ctrl-C.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any

from absl import flags

from deblur_tf.bin import common

_INPUT = flags.DEFINE_string("input", None, "Photo, or folder of photos.", short_name="i")
_OUTPUT = flags.DEFINE_string("output", None, "Output folder, made if missing.", short_name="o")
_MODEL = flags.DEFINE_string(
    "model",
    "tiny",
    "Model in the package, run directory of deblur-train or one of its checkpoints, or a "
    "model folder.",
    short_name="m",
)
_STEPS = flags.DEFINE_integer(
    "steps",
    None,
    "Sampling steps; each runs the network once. Default: the model's.",
    lower_bound=1,
)
_BETA_MAX = flags.DEFINE_float(
    "beta_max",
    None,
    "Largest noise variance of a step. Default: the model's, or with other --steps "
    "10 / steps, at most 0.9.",
    lower_bound=1e-6,
    upper_bound=0.999,
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed; the same seed gives the same picture.")
_N_SAMPLES = flags.DEFINE_integer(
    "n_samples",
    None,
    "Samples to draw and average. Default: the model's.",
    lower_bound=1,
    short_name="n",
)
_SAMPLER = flags.DEFINE_string(
    "sampler", None, "ddpm, ddim, dpmpp_2m, dpmpp_2m_sde or heun. Default: the model's."
)
_ETA = flags.DEFINE_float(
    "eta", None, "Of ddim: share of ddpm's noise, 0 to 1. Default: the model's, or 0."
)
_EXT = flags.DEFINE_enum(
    "ext", "auto", ["auto", "png", "jpg", "webp", "tif"], "Output format; auto: as input."
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Restore again what is already there.")


def _plan(inputs: Sequence[pathlib.Path], root: pathlib.Path) -> dict[pathlib.Path, pathlib.Path]:
    """Output path of each input; refuses clashes before any work."""
    output = pathlib.Path(_OUTPUT.value)
    plan: dict[pathlib.Path, pathlib.Path] = {}
    taken: dict[pathlib.Path, pathlib.Path] = {}
    for source in inputs:
        suffix = source.suffix if _EXT.value == "auto" else f".{_EXT.value}"
        target = output / source.relative_to(root).with_suffix(suffix)
        if target.resolve() == source.resolve():
            raise common.UsageError(f"{target}: would overwrite its input; choose another --output")
        if target in taken:
            raise common.UsageError(
                f"{taken[target]} and {source} would both be written to {target}; "
                "rename one or use --ext=auto"
            )
        taken[target] = source
        plan[source] = target
    return plan


def _sampling(deblurrer: Any) -> Any:
    """The model's settings, but what flags say."""
    from deblur_tf.diffusion import samplers

    found = deblurrer.sampling.but(
        _STEPS.value, _BETA_MAX.value, _N_SAMPLES.value, _SAMPLER.value, _ETA.value
    )
    samplers.named(found.sampler, found.eta)
    return found


def _restore_one(deblurrer: Any, source: pathlib.Path, target: pathlib.Path, label: str) -> None:
    from tqdm import tqdm

    from deblur_tf.data.photo_files import read_photo, write_photo
    from deblur_tf.inference import deblurrer as lib

    photo = read_photo(source)
    sampling = _sampling(deblurrer)
    started = time.monotonic()
    total = sampling.steps * sampling.n_samples
    height, width = photo.pixels.shape[:2]
    print(f"{label} {source} ({width}x{height})", flush=True)
    with tqdm(total=total, unit="step", leave=False, disable=not sys.stderr.isatty()) as bar:
        samples = deblurrer.samples(
            photo.pixels,
            **dataclasses.asdict(sampling),
            seed=_SEED.value,
            on_step=lambda done: bar.update(done - bar.n),
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    if len(samples) > 1:
        for i, sample in enumerate(samples):
            name = f"{target.stem}_s{_SEED.value}_{i}{target.suffix}"
            write_photo(target.with_name(name), lib.mean_image(sample[None]), photo)
    # Last, since this file marks the photo as done.
    write_photo(target, lib.mean_image(samples), photo)
    print(f"{label} {target} in {time.monotonic() - started:.1f} s", flush=True)


def main(argv: Sequence[str]) -> int:
    del argv
    for name, flag in (("-i/--input", _INPUT), ("-o/--output", _OUTPUT)):
        if not flag.value:
            raise common.UsageError(f"{name} is missing")
    source = pathlib.Path(_INPUT.value)
    if not source.exists():
        raise common.UsageError(f"{source}: no such file or folder")

    from deblur_tf import model_folders
    from deblur_tf.data.photo_files import OUTPUT_EXTENSIONS
    from deblur_tf.data.photos import list_images
    from deblur_tf.errors import DataError, NonFiniteError

    if source.is_dir():
        inputs, root = list_images(source), source
    else:
        inputs, root = [source], source.parent
        if _EXT.value == "auto" and source.suffix.lower() not in OUTPUT_EXTENSIONS:
            raise common.UsageError(f"{source}: not a photo format; one of {OUTPUT_EXTENSIONS}")
    plan = _plan(inputs, root)
    model_folders.find(_MODEL.value)
    common.make_folder(_OUTPUT.value)

    from deblur_tf.inference.deblurrer import Deblurrer

    deblurrer = Deblurrer.from_pretrained(_MODEL.value)
    sampling = _sampling(deblurrer)
    print(
        f"model {_MODEL.value}: {deblurrer.origin}; seed {_SEED.value}, {sampling.describe()}",
        flush=True,
    )
    failed, skipped = [], 0
    for i, (path, target) in enumerate(plan.items(), 1):
        if target.exists() and not _OVERWRITE.value:
            skipped += 1
            continue
        try:
            _restore_one(deblurrer, path, target, f"[{i}/{len(plan)}]")
        except (DataError, NonFiniteError, OSError, MemoryError) as error:
            failed.append(path)
            common.fail(error, common.FAILED)
    if skipped:
        print(f"{skipped} already there, skipped; --overwrite restores them again")
    if failed:
        names = ", ".join(str(p) for p in failed)
        return common.fail(f"{len(failed)} of {len(plan)} failed: {names}", common.FAILED)
    return common.OK


def entry() -> None:
    common.run(main, __doc__)


if __name__ == "__main__":
    entry()
