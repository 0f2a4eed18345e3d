r"""Makes the images in datasets/*/dummy_data: small noise, in its layout.

  python tests/support/make_dummy_data.py

The images are committed; this program records how they came about.
"""

import pathlib
import shutil

import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).parent.parent.parent / "datasets"
REALBLUR = "RealBlur-J_ECC_IMCORR_centroid_itensity_ref"


def image(path: str, number: int, size: tuple[int, int] = (24, 16)) -> None:
    """A picture of 8x8 random blocks; `size` is (width, height)."""
    target = HERE / path
    target.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(number)
    blocks = rng.integers(0, 256, (size[1] // 8, size[0] // 8, 3), np.uint8)
    Image.fromarray(blocks.repeat(8, axis=0).repeat(8, axis=1)).save(target)


def main() -> None:
    for builder in HERE.glob("*/dummy_data"):
        shutil.rmtree(builder)
    for split, scenes in (("train", ["GOPR0372_07_00"]), ("test", ["GOPR0384_11_00"])):
        for i, kind in enumerate(("blur", "blur_gamma", "sharp")):
            for scene in scenes:
                for frame in (47, 54):
                    path = f"gopro/dummy_data/GOPRO_Large/{split}/{scene}/{kind}/{frame:06d}.png"
                    image(path, 10 * frame + i)

    hide = "hide/dummy_data/HIDE_dataset"
    for folder, name in (
        ("train", "1fromGOPR0950"),
        ("test/test-close-ups", "2fromGOPR1096"),
        ("test/test-long-shot", "3fromGOPR1087"),
    ):
        image(f"{hide}/{folder}/{name}.png", 1)
        image(f"{hide}/GT/{name}.png", 2)

    lists = {"train": ("scene001", "scene002"), "test": ("scene003",)}
    for split, scenes in lists.items():
        lines = []
        for i, scene in enumerate(scenes):
            size = (24, 16 + 8 * i)  # sizes vary in this data set
            names = [f"{REALBLUR}/{scene}/{kind}/{kind}_1.png" for kind in ("gt", "blur")]
            for j, name in enumerate(names):
                image(f"realblur_j/dummy_data/{name}", i + j, size)
            lines.append(" ".join(names) + " ")
        listing = HERE / f"realblur_j/dummy_data/RealBlur_J_{split}_list.txt"
        listing.write_text("\n".join(lines))  # as released: no newline at the end

    lists = {"train": ("0001/000001", "0001/000002"), "val": ("0002/000003",)}
    lists["test"] = ("0003/000004",)
    for split, places in lists.items():
        lines = []
        for i, place in enumerate(places):
            names = [f"RSBlur/{place}/{k}.png" for k in ("gt/gt_sharp", "real_blur/real_blur")]
            for j, name in enumerate(names):
                image(f"rsblur/dummy_data/{name}", 40 + 10 * i + j)
            lines.append(" ".join(names) + "\n")
        (HERE / f"rsblur/dummy_data/RSBlur_real_{split}.txt").write_text("".join(lines))

    sequences = (("train", "000"), ("val", "000"), ("val", "001"))
    for i, (split, sequence) in enumerate(sequences):
        for frame in (8, 9):
            name = f"reds/dummy_data/{split}/{split}_{{}}/{sequence}/{frame:08d}"
            for j, kind in enumerate(("sharp.png", "blur.png", "blur_jpeg.jpg")):
                folder, suffix = kind.split(".")
                image(f"{name.format(folder)}.{suffix}", 100 * i + 10 * frame + j)

    for folder, number in (("DIV2K_train_HR", 1), ("DIV2K_train_HR", 2), ("DIV2K_valid_HR", 801)):
        image(f"div2k_blur/dummy_data/{folder}/{number:04d}.png", number, (48, 40))

    for i, split in enumerate(("train", "test")):
        image(f"folder/dummy_data/{split}/input/a.png", 2 * i)
        image(f"folder/dummy_data/{split}/target/a.png", 2 * i + 1)


if __name__ == "__main__":
    main()
