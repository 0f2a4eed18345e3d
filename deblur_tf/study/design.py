"""What raters are shown: pairs of crops of the same place, without names of methods."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from deblur_tf.base.errors import DataError, UsageError
from deblur_tf.base.files import read_json, replacing, write_text
from deblur_tf.evaluation.results import find
from deblur_tf.image_files.reading import read_rgb

STUDY_FILE, PICTURES = "study.json", "pictures"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two methods' pictures of one place.

    Attributes:
      id: number in the study, from 0.
      image: name of the whole picture.
      left, right: names of the methods.
      left_file, right_file: files of the crops in `pictures/`, whose names do not reveal the
        methods.
    """

    id: int
    image: str
    left: str
    right: str
    left_file: str
    right_file: str


@dataclasses.dataclass(frozen=True)
class Study:
    """All comparisons, and the methods that are compared."""

    methods: tuple[str, ...]
    comparisons: tuple[Comparison, ...]


def make(
    folders: Mapping[str, str | os.PathLike[str]],
    output: str | os.PathLike[str],
    images: int = 30,
    crop: int = 512,
    seed: int = 0,
) -> Study:
    """Chooses images, crops and sides, and writes the crops.

    Every pair of methods is compared on every chosen image: with 30 images and 25 raters
    a cell of the table has 750 answers, as in icDPM's Table 8.

    Args:
      folders: folders of restored pictures by method; pictures are matched by name.
      output: new folder for the study.
      images: number of images, chosen from those that all methods have.
      crop: side of the crops in pixels; smaller pictures are shown whole.
      seed: random seed of images, crops and sides.

    Raises:
      UsageError: for fewer than two methods, or if `output` has a study already.
      DataError: if the methods share too few pictures, or sizes differ.
    """
    output = pathlib.Path(output)
    if len(folders) < 2:
        raise UsageError("a study compares two methods or more")
    if (output / STUDY_FILE).exists():
        raise UsageError(f"{output}: has a study already; its answers would no longer fit")
    found = {method: find(folder, set()) for method, folder in folders.items()}
    names = sorted(set.intersection(*(set(paths) for paths in found.values())))
    if len(names) < images:
        raise DataError(f"the methods share {len(names)} pictures; --images={images} needs more")
    rng = np.random.default_rng(seed)
    chosen = sorted(rng.choice(names, images, replace=False).tolist())
    files: dict[tuple[str, str], str] = {}
    for name in chosen:
        place = None
        for method, paths in found.items():
            pixels = read_rgb(paths[name])
            if place is None:
                shape = pixels.shape
                place = [int(rng.integers(max(n - crop, 0) + 1)) for n in shape[:2]]
            if pixels.shape != shape:
                raise DataError(
                    f"{paths[name]}: {pixels.shape[1]}x{pixels.shape[0]} pixels, others "
                    f"of that name have {shape[1]}x{shape[0]}"
                )
            top, left = place
            cut = pixels[top : top + crop, left : left + crop]
            digest = hashlib.sha256(f"{seed}/{name}/{method}".encode()).hexdigest()[:16]
            files[method, name] = f"{digest}.png"
            with replacing(output / PICTURES / files[method, name]) as file:
                Image.fromarray(cut).save(file, "png")
    comparisons = []
    for pair, name in itertools.product(itertools.combinations(folders, 2), chosen):
        left, right = pair if rng.integers(2) else pair[::-1]
        comparisons.append(
            Comparison(len(comparisons), name, left, right, files[left, name], files[right, name])
        )
    study = Study(tuple(folders), tuple(comparisons))
    settings = {"seed": seed, "crop": crop, "images": images}
    text = json.dumps({"settings": settings, **dataclasses.asdict(study)}, indent=1)
    write_text(output / STUDY_FILE, text + "\n")
    return study


def read(folder: str | os.PathLike[str]) -> Study:
    """The study in a folder.

    Raises:
      UsageError: if there is none, or its files would lie outside its folder.
    """
    path = pathlib.Path(folder) / STUDY_FILE
    if not path.is_file():
        raise UsageError(f"{folder}: no study; make one with deblur-study make")
    try:
        stored = read_json(path)
        study = Study(
            tuple(stored["methods"]), tuple(Comparison(**row) for row in stored["comparisons"])
        )
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{path}: no study ({error})") from error
    for name in (file for c in study.comparisons for file in (c.left_file, c.right_file)):
        if pathlib.PurePath(str(name)).name != name:
            raise UsageError(f"{path}: {name!r} is not the name of a picture of the study")
    return study


def order(study: Study, rater: str) -> Sequence[Comparison]:
    """The comparisons in a rater's own order, the same at each visit."""
    digest = hashlib.sha256(rater.encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    return [study.comparisons[i] for i in rng.permutation(len(study.comparisons))]
