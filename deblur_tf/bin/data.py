r"""Prepares, shows and makes data sets of blurry/sharp pairs.

  deblur-data prepare gopro --manual_dir=downloads --data_dir=data
  deblur-data prepare folder --manual_dir=my_pairs --config=mine --data_dir=data
  deblur-data inspect gopro/blur --data_dir=data --output=sheet.png
  deblur-data synth --photos=my_photos --blur=realistic --output=my_pairs
  deblur-data synth --frames=my_clips --average=11 --output=my_pairs
  deblur-data preview --photos=my_photos --output=preview.png

prepare: gopro, hide, realblur_j, rsblur, reds, div2k_blur or folder, from archives or
folders in --manual_dir; without it the instructions are printed. Counts are checked;
--subset accepts a part, under a name that says so. It can be interrupted at any
moment and started again. With --beam_runner the workers of an Apache Beam runner (extra "beam")
check the images and write the examples.
inspect: sizes of the pairs, and a contact sheet.
synth: blurs sharp photos as --blur says, by default by random camera shake and noise as
in DvSR's appendix C, into --output/blur and --output/sharp. With --frames, blur is the mean of
consecutive frames of a video, as in GoPro; each folder of frames is a clip (extract them with
ffmpeg -i video.mp4 my_clips/video/%06d.png). Existing pairs are kept.
preview: a sheet of the pairs that data/realistic.gin would train on.

Exit codes: 0 done, 1 failed, 2 usage error or bad data, 130 Ctrl-C.
"""

from __future__ import annotations

import functools
import pathlib
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags

from deblur_tf.bin import common

_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where prepared sets are. Default: $TFDS_DATA_DIR or ~/tensorflow_datasets."
)
_MANUAL_DIR = flags.DEFINE_string(
    "manual_dir", None, "prepare: folder with the archive, or what was extracted from it."
)
_CONFIG = flags.DEFINE_string(
    "config", None, "prepare: configuration, e.g. blur_gamma; for `folder` any new name."
)
_SUBSET = flags.DEFINE_bool(
    "subset", False, "prepare: accept an incomplete copy, as <configuration>_subset."
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "inspect, preview: file of the sheet; synth: folder.", short_name="o"
)
_PHOTOS = flags.DEFINE_string(
    "photos",
    None,
    "synth, preview: folder of sharp photos; preview without it: those that come with "
    "scikit-image.",
)
_SEED = flags.DEFINE_integer("seed", 0, "synth, preview: seed of blur and noise.", lower_bound=0)
_BLUR = flags.DEFINE_enum(
    "blur", "dvsr", ["dvsr", "realistic", "shake10", "shake20"], "synth: kind of blur."
)
_FRAMES = flags.DEFINE_string("frames", None, "synth: folder of video frames, or of such folders.")
_AVERAGE = flags.DEFINE_integer("average", 11, "synth: frames that are averaged, odd.", 3)
_STRIDE = flags.DEFINE_integer(
    "stride", None, "synth: frames from one picture to the next. Default: --average.", 1
)
_GAMMA = flags.DEFINE_float(
    "gamma", 1.0, "synth: exponent of light when frames are averaged; 2.2 as in GoPro's blur_gamma."
)
_BEAM_RUNNER = flags.DEFINE_string(
    "beam_runner", None, "prepare: write on this Apache Beam runner, e.g. DirectRunner."
)
_BEAM_OPTIONS = flags.DEFINE_multi_string(
    "beam_options", [], "prepare: option of the runner, as of deblur-restore. Repeatable."
)
_GIN_PARAM = flags.DEFINE_multi_string(
    "gin_param", [], 'preview: override, e.g. --gin_param="RealisticBlur.jpeg = 0.0". Repeatable.'
)


def _prepare(name: str) -> int:
    from deblur_tf.datasets import prepare

    builder = prepare.prepare(
        *(name, _MANUAL_DIR.value, _DATA_DIR.value, _CONFIG.value, _SUBSET.value),
        beam_runner=_BEAM_RUNNER.value,
        beam_options=_BEAM_OPTIONS.value,
    )
    info = builder.info
    for split, about in info.splits.items():
        print(f"{split}: {about.num_examples} pairs, {about.num_bytes / 1e6:.1f} MB")
    print(f"{info.full_name} is ready in {builder.data_dir}")
    return common.OK


def _inspect(dataset: str) -> int:
    import numpy as np

    from deblur_tf.data import tfds_pairs
    from deblur_tf.evaluation.sheets import picture_sheet

    info = tfds_pairs.open_prepared(dataset, _DATA_DIR.value).info
    print(f"{info.full_name}; metadata {dict(info.metadata or {})}")
    rows = []
    for split in info.splits:
        images = tfds_pairs.TfdsImages(dataset, _DATA_DIR.value, split)
        # An evenly spread sample: a large set would take hours to read.
        chosen = np.unique(np.linspace(0, len(images) - 1, 50).astype(int))
        sizes: Counter[str] = Counter()
        for i in chosen:
            blurry, sharp = images[i]
            sizes[f"{sharp.shape[1]}x{sharp.shape[0]}"] += 1
            if i in chosen[:: max(len(chosen) // 3, 1)][:3]:
                rows.append([blurry, sharp, _difference(blurry, sharp)])
        found = ", ".join(f"{size} ({n})" for size, n in sizes.most_common(5))
        more = " ..." if len(sizes) > 5 else ""
        print(f"{split}: {len(images)} pairs; sizes of {len(chosen)} looked at: {found}{more}")
        print(f"  first {images.id(0)}, last {images.id(len(images) - 1)}")
    output = pathlib.Path(_OUTPUT.value or f"{dataset.replace('/', '_')}.png")
    picture_sheet(rows, ["blurry", "sharp", "difference (x4)"], 320).save(output)
    print(f"contact sheet: {output}")
    return common.OK


def _difference(a: Any, b: Any) -> Any:
    import numpy as np

    gap = np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16))
    return np.minimum(4 * gap, 255).astype(np.uint8)


Make = Callable[[], tuple[Any, Any]]  # makes a blurry and a sharp picture


def _synth() -> int:
    makers = _of_frames() if _FRAMES.value else _of_photos()
    output = pathlib.Path(common.value_of(_OUTPUT))
    common.make_folder(str(output), alone=True)
    for side in ("blur", "sharp"):
        common.make_folder(str(output / side))
    from PIL import Image

    from deblur_tf.base.errors import DataError
    from deblur_tf.base.files import remove_partials, replacing
    from deblur_tf.base.progress import bar

    remove_partials(output)

    failed, kept = 0, 0
    for name, make in bar(makers.items(), unit="pair"):
        targets = [output / side / name for side in ("blur", "sharp")]
        if all(target.exists() for target in targets):
            kept += 1
            continue
        try:
            pair = make()
        except DataError as error:
            failed += 1
            common.fail(error, common.FAILED)
            continue
        for target, pixels in zip(targets, pair, strict=True):
            with replacing(target) as file:
                Image.fromarray(pixels).save(file, "png")
    done = len(makers) - failed - kept
    print(f"{done} pairs written to {output}, {kept} already there, {failed} failed")
    return common.FAILED if failed else common.OK


def _of_frames() -> dict[str, Make]:
    """What makes each pair of the frames, by file name."""
    from deblur_tf.data import averaging

    if _AVERAGE.value % 2 == 0:
        raise common.UsageError(
            f"--average={_AVERAGE.value}: an odd number is needed, so that one frame is the middle"
        )
    if _GAMMA.value <= 0:
        raise common.UsageError(f"--gamma={_GAMMA.value}: must be positive")
    frames = averaging.clips(pathlib.Path(common.value_of(_FRAMES)))
    found = averaging.windows(frames, _AVERAGE.value, _STRIDE.value or _AVERAGE.value)
    return {
        f"{name}.png": functools.partial(averaging.averaged, paths, _GAMMA.value)
        for name, paths in found.items()
    }


def _of_photos() -> dict[str, Make]:
    """What makes each pair of the photographs, by file name."""
    from deblur_tf.data.photos import list_images

    root = pathlib.Path(common.value_of(_PHOTOS))
    paths: dict[str, pathlib.Path] = {}
    for path in list_images(root):
        relative = path.relative_to(root).with_suffix("")
        name = "-".join(relative.parts) + ".png"
        if name in paths:
            raise common.UsageError(f"{paths[name]} and {path} would both become {name}")
        paths[name] = path
    chosen = list(paths.values())
    return {name: functools.partial(_blurred, chosen, i, name) for i, name in enumerate(paths)}


def _blurred(paths: Sequence[pathlib.Path], i: int, name: str) -> tuple[Any, Any]:
    """A blurry and a sharp version of photograph number `i`."""
    import numpy as np

    from deblur_tf.data import synthesis  # imports Keras, which takes seconds, so it comes last
    from deblur_tf.image_files.reading import read_rgb

    make = synthesis.named(_BLUR.value)
    # Seeded by name, so that adding photos does not change the pairs of others.
    rng = np.random.default_rng((_SEED.value, zlib.crc32(name.encode())))
    taken = [read_rgb(paths[(i + k) % len(paths)]) for k in range(make.photos)]
    return make(taken, rng, str(paths[i]))


# Pairs on a sheet: rows, and columns of one blurry and one sharp picture each.
ROWS, COLUMNS = 6, 4


def _preview() -> int:
    from deblur_tf import config
    from deblur_tf.evaluation.sheets import picture_sheet

    settings = {"PHOTOS": _PHOTOS.value, "SEED": _SEED.value, "CROP_SIZE": 128}
    overrides = [f"{name} = {value!r}" for name, value in settings.items()]
    config.load(["data/realistic.gin"], overrides + list(_GIN_PARAM.value))
    pairs = config.build("RealisticPairs")
    print(pairs.describe(), flush=True)
    rows = [
        [image for i in range(COLUMNS) for image in pairs(row * COLUMNS + i)] for row in range(ROWS)
    ]
    picture_sheet(rows, ["blurry", "sharp"] * COLUMNS, pairs.crop_size).save(
        common.value_of(_OUTPUT)
    )
    print(f"{ROWS * COLUMNS} pairs: {_OUTPUT.value}")
    return common.OK


def main(argv: Sequence[str]) -> int:
    command, name = [*argv[1:], "", ""][:2]
    if command in ("prepare", "inspect"):
        if not name:
            raise common.UsageError(f"deblur-data {command}: which data set? See --help")
        return _prepare(name) if command == "prepare" else _inspect(name)
    if command in ("synth", "preview"):
        if name:
            raise common.UsageError(f"unexpected argument {name!r}; see --help")
        if not _OUTPUT.value:
            raise common.UsageError(f"deblur-data {command}: --output is missing")
        if command == "synth" and bool(_PHOTOS.value) == bool(_FRAMES.value):
            raise common.UsageError("deblur-data synth: give one of --photos and --frames")
        return _synth() if command == "synth" else _preview()
    raise common.UsageError(
        f"unknown command {command!r}; one of prepare, inspect, synth, preview"
        if command
        else "which command? One of prepare, inspect, synth, preview; see --help"
    )


def entry() -> None:
    common.run(main, __doc__, max_arguments=2)


if __name__ == "__main__":
    entry()
