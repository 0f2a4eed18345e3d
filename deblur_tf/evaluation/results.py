"""Matches a folder of restored pictures with the sharp ones by name."""

from __future__ import annotations

import glob
import os
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from deblur_tf.base.errors import DataError, UsageError
from deblur_tf.data.folders import LAYOUTS, normalized
from deblur_tf.data.photos import list_images
from deblur_tf.evaluation.pairs import Numbered, digest_of
from deblur_tf.image_files.reading import read_rgb

# Folder names that say whether pictures are blurry or sharp; a picture's name omits them.
BLURRY = {*(blurry for blurry, _ in LAYOUTS), "blur_gamma"}
SHARP = {sharp for _, sharp in LAYOUTS}


def find(where: str | os.PathLike[str], sides: set[str]) -> dict[str, pathlib.Path]:
    """Pictures by name: the path below the folder, joined by "-".

    A name omits the extension and folders such as "blur" and "sharp":
    "GOPR0384_11_00/sharp/000001.png" and "GOPR0384_11_00-000001.png" have the same name, so
    that flat folders of results match the data sets' own layouts.

    Args:
      where: a folder, or a pattern of folders such as "GOPRO_Large/test/*/sharp".
      sides: names of the side folders (blurry or sharp) to take pictures from, if there are any.

    Raises:
      DataError: if there are no pictures, or two have the same name.
      UsageError: if it is not clear which of several sides is meant.
    """
    where = str(where)
    pattern = glob.has_magic(where) and not os.path.isdir(where)
    folders = sorted(glob.glob(where)) if pattern else [where]
    root = pathlib.Path(os.path.dirname(re.split(r"[*?[]", where)[0]) if pattern else where)
    paths = [path for one in folders for path in list_images(one)]
    if not paths:
        raise DataError(f"{where}: no pictures there")
    relative = [path.relative_to(root).with_suffix("").parts for path in paths]
    named = [{part.lower() for part in parts[:-1]} & (BLURRY | SHARP) for parts in relative]
    if any(named) and not pattern:
        found = set().union(*named)
        if len(sides & found) == 1:
            (side,) = sides & found
            keep = [side in here for here in named]
            paths = [p for p, k in zip(paths, keep, strict=True) if k]
            relative = [r for r, k in zip(relative, keep, strict=True) if k]
        elif len(found) > 1:
            raise UsageError(
                f"{where} holds {' and '.join(sorted(found))}; say which, e.g. '{where}/*/blur'"
            )
    result: dict[str, pathlib.Path] = {}
    for path, parts in zip(paths, relative, strict=True):
        name = "-".join(p for p in parts[:-1] if p.lower() not in BLURRY | SHARP)
        last = re.sub(r"^(blur|gt)_", "", parts[-1])  # RealBlur's own names
        name = normalized(f"{name}-{last}" if name else last)
        if (other := result.setdefault(name, path)) != path:
            raise DataError(f"{other} and {path} have one name; remove one of them")
    return result


def folders(
    restored: str | os.PathLike[str],
    sharp: str | os.PathLike[str] | None,
    blurry: str | os.PathLike[str] | None = None,
    subset: bool = False,
) -> Numbered:
    """Triples of blurry (or None), sharp and restored pictures.

    Args:
      restored: folder or pattern of the restored pictures, see `find`.
      sharp: folder or pattern of the sharp pictures; None: they are not known, and the restored
        ones stand in their place.
      blurry: folder or pattern of the blurry pictures; None: they are not measured.
      subset: use the pictures that all folders have; otherwise each picture must be in
        each folder.

    Raises:
      DataError: if folders lack pictures; the message names them.
    """
    if sharp is None:
        sharp, kind = restored, set()
    else:
        kind = SHARP
    sides = [find(restored, set()), find(sharp, kind)]
    labels = [str(restored), str(sharp)]
    if blurry:
        sides.append(find(blurry, BLURRY))
        labels.append(str(blurry))
    names = sorted(set(sides[0]).intersection(*sides[1:]))
    if not names or not subset:
        _refuse_differences(sides, labels)

    def read(index: int) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
        files = [side[names[index]] for side in sides]
        images = [read_rgb(file) for file in files]
        for file, image in zip(files, images, strict=True):
            if image.shape != images[1].shape:
                sizes = " and ".join(f"{x.shape[1]}x{x.shape[0]}" for x in (image, images[1]))
                raise DataError(f"{file} and {files[1]} differ in size: {sizes}")
        return images[2] if blurry else None, images[1], images[0]

    digest = digest_of((name, side[name]) for side in sides for name in names)
    return Numbered(f"pictures of {restored}", len(names), names.__getitem__, read, digest)


def _refuse_differences(sides: Sequence[dict[str, pathlib.Path]], labels: Sequence[str]) -> None:
    every = set().union(*sides)
    problems = []
    for side, label in zip(sides, labels, strict=True):
        if missing := sorted(every - set(side)):
            more = " ..." if len(missing) > 3 else ""
            problems.append(f"{label} lacks {len(missing)}: {', '.join(missing[:3])}{more}")
    if problems:
        raise DataError(f"{'; '.join(problems)} (--subset measures the pictures that all have)")
