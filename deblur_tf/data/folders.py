"""Finds blurry/sharp pairs in folders, matched by file name."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

from deblur_tf.base.errors import DataError
from deblur_tf.data.photos import list_images
from deblur_tf.image_files.reading import read_rgb

# Names of the two folders, in lower case; any case is accepted.
LAYOUTS = (("blur", "sharp"), ("input", "target"), ("lq", "gt"))


@dataclasses.dataclass(frozen=True)
class PairFiles:
    """A blurry image file with the matching sharp one.

    Attributes:
      id: unique in its split, e.g. "GOPR0384_11_00-000001".
      blurry, sharp: paths of the two files.
    """

    id: str
    blurry: pathlib.Path
    sharp: pathlib.Path

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Both images, uint8 [H, W, 3].

        Raises:
          DataError: naming the files, if one cannot be read or sizes differ.
        """
        blurry, sharp = read_rgb(self.blurry), read_rgb(self.sharp)
        if blurry.shape != sharp.shape:
            sizes = " and ".join(f"{x.shape[1]}x{x.shape[0]}" for x in (blurry, sharp))
            raise DataError(f"{self.blurry} and {self.sharp} differ in size: {sizes}")
        return blurry, sharp

    def check(self) -> None:
        """Decodes both images, so that damage is found now and not in training.

        Raises:
          DataError: see `read`.
        """
        self.read()


def normalized(name: str) -> str:
    """A name in Unicode's composed form: systems store the same letters in two ways."""
    return unicodedata.normalize("NFC", name)


def match(
    blurry: Iterable[pathlib.Path], sharp: Iterable[pathlib.Path], source: str
) -> list[tuple[pathlib.Path, pathlib.Path]]:
    """Pairs the files of two lists by name without extension, ordered by name.

    Raises:
      DataError: listing what is missing on which side, or a name that occurs
        twice on one side.
    """
    sides: list[dict[str, pathlib.Path]] = []
    for paths in (blurry, sharp):
        side: dict[str, pathlib.Path] = {}
        for path in paths:
            if (other := side.setdefault(normalized(path.stem), path)) != path:
                raise DataError(f"{other} and {path} have one name; remove one of them")
        sides.append(side)
    problems = [
        f"{len(names)} {what}: {', '.join(sorted(names)[:5])}{' ...' if len(names) > 5 else ''}"
        for what, names in (
            ("without a sharp image", sides[0].keys() - sides[1].keys()),
            ("without a blurry image", sides[1].keys() - sides[0].keys()),
        )
        if names
    ]
    if problems:
        raise DataError(f"{source}: blurry and sharp images do not match; " + "; ".join(problems))
    return [(sides[0][stem], sides[1][stem]) for stem in sorted(sides[0])]


def find_pairs(
    root: str | os.PathLike[str], layouts: Sequence[tuple[str, str]] = LAYOUTS
) -> list[PairFiles]:
    """All pairs below a folder, ordered by id.

    Finds `<root>/blur/x.png` with `<root>/sharp/x.png`, also within scene folders
    at any depth, and other names for the two folders.

    Args:
      root: the folder.
      layouts: names of the blurry and the sharp folder, in lower case.

    Raises:
      DataError: if there are no such folders, or the two sides do not match.
    """
    root = pathlib.Path(root)
    images = list_images(root)
    by_folder: dict[pathlib.Path, list[pathlib.Path]] = {}
    for path in images:
        by_folder.setdefault(path.parent, []).append(path)
    pairs = []
    for blurry_name, sharp_name in layouts:
        # Keyed by the folder that holds both sides.
        sides: dict[pathlib.Path, dict[str, list[pathlib.Path]]] = {}
        for folder, paths in by_folder.items():
            if (name := folder.name.lower()) in (blurry_name, sharp_name):
                sides.setdefault(folder.parent, {})[name] = paths
        for parent, side in sides.items():
            if blurry_name not in side and sharp_name not in side:
                continue
            scene = parent.relative_to(root).parts
            matched = match(side.get(blurry_name, ()), side.get(sharp_name, ()), str(parent))
            pairs += [PairFiles("-".join([*scene, b.stem]), b, s) for b, s in matched]
    if not pairs:
        names = ", ".join("/".join(layout) for layout in layouts)
        raise DataError(f"{root}: no folders of blurry and sharp images in it (named {names})")
    return sorted(pairs, key=lambda pair: pair.id)
