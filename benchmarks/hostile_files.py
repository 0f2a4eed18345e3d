r"""Restores a folder of unusual and damaged files, and counts the outcomes.

  python benchmarks/hostile_files.py --images=pillow-13.0.0/Tests/images

The folder holds all files below --images with an image's extension; of every fifth also a copy with
four changed bytes and a copy cut in half; of every twenty-fifth a copy with another extension; an
empty file, a pipe, a file without read permission, and a file whose name is not valid UTF-8; a
linked folder, a folder that links to its parent, a link to nothing and a linked file; a photograph
in frames and between bars; names in both Unicode forms of one word; gray kinds of 1, 8 and 16 bits
and with alpha. One run of deblur-restore restores it, by default with a small untrained network,
since the test is of reading files. Fails if there is a traceback, a file that is neither restored
nor refused by name, or a missing result.
"""

from __future__ import annotations

import json
import os
import pathlib
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Sequence

from absl import app, flags

_IMAGES = flags.DEFINE_string("images", None, "Folder of images.", required=True)
_MODEL = flags.DEFINE_string("model", None, "See deblur-restore; default: a small untrained one.")
_FLAGS = flags.DEFINE_list("restore_flags", ["--nokeep_sharp"], "Further flags for deblur-restore.")


def untrained(folder: pathlib.Path) -> str:
    """Saves an untrained network of a few thousand weights in a folder; returns its path."""
    from deblur_tf.diffusion.sampling import SamplingSettings
    from deblur_tf.models import saved
    from deblur_tf.models.icdpm import GuidedDiffusion
    from deblur_tf.networks.unet import UNet

    model = GuidedDiffusion(UNet(4, (1, 2), num_res_blocks=1, num_middle_blocks=1))
    model.build()
    saved.save_model(model, folder, SamplingSettings(1, 0.9975))
    return str(folder)


def collect(images: pathlib.Path, folder: pathlib.Path) -> int:
    """Fills a folder with hostile files; returns how many there are."""
    from deblur_tf.image_files.listing import is_photo

    rng = random.Random(0)
    paths = sorted(p for p in images.rglob("*") if p.is_file() and is_photo(p))
    for number, path in enumerate(paths):
        place = folder / f"{number:04d}"  # names may clash
        place.mkdir(parents=True)
        shutil.copy(path, place / path.name)
        data = bytearray(path.read_bytes())
        if data and number % 5 == 0:
            (place / f"cut_{path.name}").write_bytes(data[: len(data) // 2])
            for _ in range(4):
                data[rng.randrange(len(data))] = rng.randrange(256)
            (place / f"changed_{path.name}").write_bytes(data)
        if number % 25 == 0:
            ending = rng.choice([".jpg", ".png", ".tif", ".webp"])
            shutil.copy(path, place / f"called{ending}")
    (folder / "empty.jpg").write_bytes(b"")
    os.mkfifo(folder / "pipe.png")
    shutil.copy(paths[0], folder / f"secret{paths[0].suffix}")
    (folder / f"secret{paths[0].suffix}").chmod(0)
    shutil.copy(paths[0], os.fsencode(folder) + b"/no\xff utf-8\n" + paths[0].suffix.encode())
    collect_links(folder, paths[0])
    collect_pictures(folder / "made")
    found = sum(1 for p in folder.rglob("*") if not p.is_dir())
    return found + 1  # the linked folder's file, which rglob passes over


def collect_links(folder: pathlib.Path, path: pathlib.Path) -> None:
    """A linked folder outside, a loop, a link to nothing, and a linked file."""
    outside = folder.parent / "outside"
    outside.mkdir()
    shutil.copy(path, outside / path.name)
    links = folder / "links"
    links.mkdir()
    (links / "folder").symlink_to(outside, target_is_directory=True)
    (links / "loop").symlink_to(links, target_is_directory=True)
    (links / "nothing.png").symlink_to("missing.png")
    # A file that two links lead to is restored once, so this is another one.
    single = shutil.copy(path, folder.parent / f"single{path.suffix}")
    (links / f"file{path.suffix}").symlink_to(single)


def collect_pictures(folder: pathlib.Path) -> None:
    """Frames and bars around a photograph, names in two Unicode forms, and gray kinds."""
    import numpy as np
    from PIL import Image
    from skimage import data

    folder.mkdir()
    photo = data.astronaut()[100:228, 150:310]
    for side, pads in {"frame": (16, 16), "bars": (16, 0), "column": (0, 30)}.items():
        for level in (0, 255):
            framed = np.pad(photo, [(n, n) for n in pads] + [(0, 0)], constant_values=level)
            for ending in ("png", "jpg"):
                Image.fromarray(framed).save(folder / f"{side}_{level}.{ending}")
    for form in ("NFC", "NFD"):
        Image.fromarray(photo).save(folder / unicodedata.normalize(form, "caf\u00e9 \u00fc.png"))
    gray = photo.mean(axis=-1).astype(np.uint8)
    alpha = np.full_like(gray, 200)
    kinds = {
        "gray": Image.fromarray(gray),
        "alpha": Image.fromarray(np.stack([gray, alpha], axis=-1)),
        "one_bit": Image.fromarray(gray).convert("1"),
        "sixteen": Image.fromarray(gray.astype(np.uint16) * 257),
    }
    for name, image in kinds.items():
        for ending in ("png", "tif"):
            image.save(folder / f"{name}.{ending}")


def main(argv: Sequence[str]) -> None:
    del argv
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        files = collect(pathlib.Path(_IMAGES.value), root / "in")
        model = _MODEL.value or untrained(root / "model")
        command = [sys.executable, "-m", "deblur_tf.bin.restore", "-m", model]
        command += ["-i", root / "in", "-o", root / "out", *_FLAGS.value]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        manifest = json.loads((root / "out" / "manifest.json").read_text())["files"]
        lost = [path for path in manifest if not (root / "out" / path).exists()]
        unfinished = sum("unfinished" in entry for entry in manifest.values())
        # The last line that begins so counts the others.
        named = sum(line.startswith("error: ") for line in result.stderr.splitlines()) - 1
        tracebacks = result.stderr.count("Traceback") + result.stdout.count("Traceback")
        print(
            f"{files} files: {len(manifest)} restored, {named} refused by name, {tracebacks} "
            f"tracebacks, {len(lost)} results lost, {unfinished} unfinished, "
            f"{files - len(manifest) - named} unaccounted for; exit code "
            f"{result.returncode}, peak {peak:.1f} GiB"
        )
        if tracebacks or lost or unfinished or files != len(manifest) + named:
            print(result.stderr[-3000:])
            sys.exit(1)


if __name__ == "__main__":
    app.run(main)
