r"""Restores a motion-blurred photo, or folders of them.

  deblur-restore -i photo.jpg -o out/
  deblur-restore -i photos/ -o out/ -m runs/mine -n 4 --seed=7
  deblur-restore -i 'holiday/*.JPG' -o out/ --fidelity=0.5 --suffix=_sharp
  deblur-restore --describe -m runs/mine

Writes out/<name> of exactly the same size, with EXIF, colour profile, alpha and 16 bits
where the format can hold them, and out/manifest.json, which records for each result its
source, model and settings. A second run restores only photos that are new or whose result
would change; files that the manifest does not list are never overwritten without
--overwrite. With -n N > 1 the result is the mean of N samples; each sample is written beside
it as <name>_s<seed>_<i>, and a map of where they differ as <name>_uncertainty.png.

With --beam_runner the photographs are restored by the workers of an Apache Beam runner (extra
"beam"), each on its own disk: deblur-restore -i 'gs://mine/*.jpg' -o gs://mine/out
--beam_runner=DataflowRunner. What fails is also listed in out/failed.json.

A photograph that is sharp already is copied as it is, unless --nokeep_sharp, and so is one
whose restored picture is no sharper, unless --always. Large ones are restored in tiles.

Exit codes: 0 all done, 1 some inputs failed, 2 usage error, 3 the model cannot be loaded,
130 Ctrl-C.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from deblur_tf.bin import common

_INPUT = flags.DEFINE_multi_string(
    "input", None, "Photo, folder of photos, or pattern.", short_name="i"
)
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
    "eta", None, "For ddim: share of ddpm's noise, 0 to 1. Default: the model's, or 0."
)
_FIDELITY = flags.DEFINE_float(
    "fidelity",
    None,
    "From 0 (best perception) to 1 (nearest to the truth): settings from the curve that was "
    "measured for the model, in place of its own.",
    lower_bound=0.0,
    upper_bound=1.0,
)
_COLOR_GUARD = flags.DEFINE_bool(
    "color_guard", False, "Keep the low frequencies, and so the colours, of the input."
)
_KEEP_SHARP = flags.DEFINE_bool(
    "keep_sharp", True, "Copy photographs that are sharp already as they are."
)
_ALWAYS = flags.DEFINE_bool(
    "always", False, "Write the restored picture even where it is no sharper than the photograph."
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 1, "Photographs of one size, or samples of one, that are computed at a time.", 1
)
_TILE = flags.DEFINE_string(
    "tile", "auto", "Largest side of tiles in pixels; 0: no tiles; auto: by photo size and memory."
)
_TILE_OVERLAP = flags.DEFINE_integer(
    "tile_overlap", 32, "Overlap of neighbouring tiles in pixels.", lower_bound=0
)
_WEIGHTS = flags.DEFINE_enum(
    "weights",
    "ema",
    ["ema", "raw"],
    "Of a run: the averages of the weights over its steps, or the weights of its last step.",
)
_PRECISION = flags.DEFINE_enum(
    "precision",
    "auto",
    ["auto", "fp32", "bf16"],
    "Number format of the networks. bf16 changes a picture by a level or two of 255; auto: bf16 on "
    "CPUs that are faster in it.",
)
_GT = flags.DEFINE_string(
    "gt", None, "Folder of the true sharp photographs, of the same names, for PSNR and SSIM."
)
_EXT = flags.DEFINE_enum(
    "ext",
    "auto",
    ["auto", "png", "jpg", "webp", "tif", "avif"],
    "Output format; auto: that of the input.",
)
_SUFFIX = flags.DEFINE_string("suffix", "", "Added to the names of the results.")
_RECURSIVE = flags.DEFINE_bool("recursive", True, "Look into the folders of a folder too.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Restore again, replacing existing results.")
_BEAM_RUNNER = flags.DEFINE_string(
    "beam_runner",
    None,
    "Restore on this Apache Beam runner, e.g. DirectRunner, FlinkRunner, DataflowRunner. Then "
    "--input and --output may be on its file systems (gs://, s3://, hdfs://).",
)
_BEAM_OPTIONS = flags.DEFINE_multi_string(
    "beam_options",
    [],
    "Option of the runner, e.g. --beam_options=--direct_num_workers=2. Repeatable.",
)
_DESCRIBE = flags.DEFINE_bool("describe", False, "Only describe the model and its settings.")
flags.declare_key_flag("import")


def _tile() -> Any:
    if _TILE.value == "auto":
        return "auto"
    if not _TILE.value.isdecimal():
        raise common.UsageError(f"--tile={_TILE.value}: give auto, 0 or a side in pixels")
    return int(_TILE.value)


def _describe() -> int:
    from deblur_tf.inference.description import describe

    print(describe(_MODEL.value))
    return common.OK


def _warn_of(found: Any) -> None:
    """Reports in one line the files that a search left out."""
    if found.others:
        names = ", ".join(str(path) for path in found.others[:3])
        more = " ..." if len(found.others) > 3 else ""
        print(f"{len(found.others)} file(s) are no photographs by their extension: {names}{more}")


def _command() -> dict[str, Any]:
    """All that the results depend on except the photographs: flags, the model's files, version."""
    from deblur_tf import __version__
    from deblur_tf.storage import model_folders

    folder, checkpoint = model_folders.find(_MODEL.value)
    files = [checkpoint] if checkpoint else [*folder.glob("*.*"), *folder.glob("checkpoints/*")]
    state = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(files)]
    asked = (_STEPS, _BETA_MAX, _SEED, _N_SAMPLES, _SAMPLER, _ETA, _FIDELITY, _COLOR_GUARD)
    asked += (_KEEP_SHARP, _ALWAYS, _TILE, _TILE_OVERLAP, _PRECISION, _WEIGHTS, _EXT, _SUFFIX)
    return {
        "version": __version__,
        "flags": {flag.name: flag.value for flag in asked},
        "model": str(folder.resolve()),
        "model_files": [list(entry) for entry in state],
    }


def _job_arguments() -> dict[str, Any]:
    """Those arguments of `Job` that flags give."""
    return {
        "seed": _SEED.value,
        "color_guard": _COLOR_GUARD.value,
        "keep_sharp": _KEEP_SHARP.value,
        "always": _ALWAYS.value,
        "overwrite": _OVERWRITE.value,
        "sharp_folder": _GT.value,
        "batch_size": _BATCH_SIZE.value,
    }


def _loaded() -> tuple[Any, Any]:
    """The model, and how to sample it."""
    from deblur_tf.inference.deblurrer import Deblurrer

    common.import_modules()
    deblurrer = Deblurrer.from_pretrained(
        _MODEL.value, _tile(), _TILE_OVERLAP.value, _PRECISION.value, _WEIGHTS.value
    )
    sampling = deblurrer.settings(
        steps=_STEPS.value,
        beta_max=_BETA_MAX.value,
        n_samples=_N_SAMPLES.value,
        sampler=_SAMPLER.value,
        eta=_ETA.value,
        fidelity=_FIDELITY.value,
    )
    how = sampling.describe(deblurrer.model.schedule_kind)
    print(f"model {_MODEL.value}: {deblurrer.origin}; seed {_SEED.value}, {how}", flush=True)
    return deblurrer, sampling


def _ended(failed: Sequence[str], total: int) -> int:
    """The exit code; names what failed."""
    if failed:
        return common.fail(f"{len(failed)} of {total} failed: {', '.join(failed)}", common.FAILED)
    return common.OK


def main(argv: Sequence[str]) -> int:
    del argv
    if _DESCRIBE.value:
        return _describe()
    for name, value in (("-i/--input", _INPUT.value), ("-o/--output", _OUTPUT.value)):
        if not value:
            raise common.UsageError(f"{name} is missing")
    _tile()
    if pathlib.PurePath(_SUFFIX.value).name != _SUFFIX.value:
        raise common.UsageError(f"--suffix={_SUFFIX.value!r} must be a part of a name")
    if _BEAM_RUNNER.value:
        return _on_a_runner()
    if _BEAM_OPTIONS.value:
        raise common.UsageError("--beam_options needs --beam_runner")
    return _here()


def _on_a_runner() -> int:
    """Restores on a runner of Apache Beam."""
    from deblur_tf.storage import model_folders

    model_folders.find(_MODEL.value)
    from deblur_tf.inference import bulk, bulk_plan, remote_files

    output, command = common.value_of(_OUTPUT), _command()
    if not remote_files.is_remote(output):
        common.make_folder(output)
    deblurrer, sampling = _loaded()
    options = {
        "tile": _tile(), "tile_overlap": _TILE_OVERLAP.value,
        "precision": deblurrer.precision, "weights": _WEIGHTS.value
    }  # fmt: skip
    request = bulk.Request(
        *(_MODEL.value, options, tuple(common.modules()), output, sampling, _job_arguments())
    )
    with bulk.manifest_of(output) as manifest:
        items = bulk_plan.items(
            common.value_of(_INPUT), _RECURSIVE.value, request, _EXT.value, _SUFFIX.value, manifest
        )
        print(f"{len(items)} photo(s) on {_BEAM_RUNNER.value}", flush=True)
        failed = bulk.restore(
            *(request, items, manifest, common.value_of(_BEAM_RUNNER), _BEAM_OPTIONS.value),
            progress=sys.stderr.isatty(),
        )
        for reason in failed.values():
            common.fail(reason, common.FAILED)
        print(bulk.summary(items, manifest), flush=True)
        if not failed:
            manifest.finish(command)
    bulk.write_failures(output, failed)
    return _ended(list(failed), len(items))


def _here() -> int:
    """Restores in this process."""
    output = pathlib.Path(common.value_of(_OUTPUT))

    from deblur_tf.image_files import listing
    from deblur_tf.inference.manifest import Manifest
    from deblur_tf.storage import model_folders

    manifest = Manifest(output)
    made = manifest.everything()
    found = listing.search(common.value_of(_INPUT), _RECURSIVE.value, output, made)
    if not found.sources and not found.unreadable:
        raise common.UsageError(f"{', '.join(common.value_of(_INPUT))}: no photographs there")
    # Clashes of names with one sample are known before anything is loaded.
    tasks = listing.plan(found.sources, output, _EXT.value, _SUFFIX.value, _SEED.value, 1)
    model_folders.find(_MODEL.value)
    common.make_folder(common.value_of(_OUTPUT))
    command = _command()
    repeated = not (_OVERWRITE.value or _GT.value or found.unreadable)
    if repeated and manifest.has_all(command, tasks):  # without loading TensorFlow
        _warn_of(found)
        print(f"{len(tasks)} already there, skipped; --overwrite restores them again")
        return common.OK

    from deblur_tf.inference.job import Job

    deblurrer, sampling = _loaded()
    tasks = listing.plan(
        found.sources, output, _EXT.value, _SUFFIX.value, _SEED.value, sampling.n_samples
    )
    job = Job(
        *(deblurrer, sampling, output),
        **_job_arguments(),
        progress=sys.stderr.isatty(),
        on_error=lambda error: common.fail(error, common.FAILED),
    )
    _warn_of(found)
    print(job.estimate(tasks), flush=True)
    failed = [str(path) for path in job.run(tasks)]
    for problem in found.unreadable:
        failed.append(problem)
        common.fail(problem, common.FAILED)
    print(job.summary(), flush=True)
    if not failed:
        job.manifest.finish(command)
    return _ended(failed, len(tasks) + len(found.unreadable))


# The flags that most people need come first in --help.
HEADINGS = {
    "What and where": ("input", "output", "overwrite"),
    "How": ("n_samples", "fidelity", "always"),
    "The model and how it is sampled": (
        "model",
        "weights",
        "steps",
        "beta_max",
        "seed",
        "sampler",
        "eta",
    ),
    "What is written": ("ext", "suffix", "recursive", "keep_sharp", "color_guard", "gt"),
    "Time and memory": ("precision", "batch_size", "tile", "tile_overlap"),
    "Several processes or machines": ("beam_runner", "beam_options"),
}


def entry() -> None:
    common.run(main, __doc__, headings=HEADINGS)


if __name__ == "__main__":
    entry()
