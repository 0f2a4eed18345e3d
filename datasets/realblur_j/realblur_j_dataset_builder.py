"""RealBlur-J: see README.md."""

import pathlib

import tensorflow_datasets.public_api as tfds

from deblur_tf.base.errors import DataError
from deblur_tf.data.folders import PairFiles, find_pairs
from deblur_tf.datasets import pair_builder


class Builder(pair_builder.PairBuilder):
    """3758 training and 980 test pairs of real camera shake; sizes vary."""

    BUILDER_CONFIGS = pair_builder.configs(("full", "All pairs."))
    COUNTS = {"train": 3758, "test": 980}
    HOMEPAGE = "http://cg.postech.ac.kr/research/realblur/"
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
Get RealBlur.tar.gz (13.1 GB, CC BY 4.0) from
https://github.com/rimchang/RealBlur and put it, or its extracted contents with
RealBlur_J_train_list.txt, RealBlur_J_test_list.txt and the folder
RealBlur-J_ECC_IMCORR_centroid_itensity_ref, into manual_dir. The flattened copy
of the test set that comes with MPRNet (RealBlur_J/test/{input,target}) will do
for the configuration `full_subset`."""

    def find(self, dl_manager: tfds.download.DownloadManager) -> pair_builder.Splits:
        candidates = pair_builder.roots(dl_manager, ("RealBlur.tar.gz", "RealBlur_J.zip"))
        splits = {}
        for split in self.COUNTS:
            listing = pair_builder.first_with(candidates, f"RealBlur_J_{split}_list.txt")
            flat = pair_builder.first_with(candidates, f"{split}/input")
            if listing is not None:
                splits[split] = _listed(listing, candidates)
            elif flat is not None:
                splits[split] = find_pairs(flat.parent)
        if self.builder_config.subset:
            splits = {s: [p for p in pairs if _present(p)] for s, pairs in splits.items()}
        else:
            _refuse_missing(splits)
        return splits


def _present(pair: PairFiles) -> bool:
    return pair.blurry.is_file() and pair.sharp.is_file()


def _refuse_missing(splits: pair_builder.Splits) -> None:
    missing = [p.id for pairs in splits.values() for p in pairs if not _present(p)]
    if missing:
        raise DataError(
            f"{len(missing)} pairs named in the list files are missing: "
            f"{', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}; extract "
            "RealBlur.tar.gz beside the list files, or use the configuration full_subset"
        )


def _listed(listing: pathlib.Path, candidates: list[pathlib.Path]) -> list[PairFiles]:
    """The pairs of a list file; each line names the sharp file, then the blurry one."""
    root, pairs = None, []
    lines = listing.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        names = line.split()
        if not names:
            continue
        if len(names) != 2 or "/gt/" not in names[0] or "/blur/" not in names[1]:
            raise DataError(f"{listing}, line {number}: not '.../gt/... .../blur/...': {line!r}")
        if root is None:
            top = pathlib.PurePosixPath(names[0]).parts[0]
            found = pair_builder.first_with(candidates, top)
            root = listing.parent if found is None else found.parent
        sharp, blurry = (root / name for name in names)
        pairs.append(PairFiles(f"{blurry.parent.parent.name}-{blurry.stem}", blurry, sharp))
    return pairs
