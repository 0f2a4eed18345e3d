"""REDS: see README.md."""

import tensorflow_datasets.public_api as tfds

from deblur_tf.data.folders import PairFiles, match
from deblur_tf.data.photos import list_images
from deblur_tf.datasets import pair_builder

ARCHIVES = tuple(
    f"{split}_{kind}.zip" for split in ("train", "val") for kind in ("sharp", "blur", "blur_jpeg")
)


class Builder(pair_builder.PairBuilder):
    """Video frames of 1280x720: 240 training and 30 validation sequences of 100."""

    BUILDER_CONFIGS = pair_builder.configs(
        ("blur_jpeg", "Blurry frames compressed as JPEG: what REDS-val-300 of HINet has."),
        ("blur", "Blurry frames without compression."),
        ("blur_jpeg_test", "The validation frames of blur_jpeg alone.", ("validation", "val300")),
        ("blur_test", "The validation frames of blur alone.", ("validation", "val300")),
    )
    COUNTS = {"train": 24_000, "validation": 3_000, "val300": 300}
    HOMEPAGE = "https://seungjunnah.github.io/Datasets/reds"
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
Get train_sharp.zip (34.3 GB), train_blur_jpeg.zip (1.2 GB) or train_blur.zip
(28.3 GB), val_sharp.zip (4.3 GB), and val_blur_jpeg.zip (0.15 GB) or val_blur.zip
(3.5 GB), all CC BY 4.0, from https://seungjunnah.github.io/Datasets/reds and put
them, or the extracted folders train/ and val/, into manual_dir. The validation
archives alone will do for the configurations `blur_jpeg_test` and `blur_test`."""

    def find(self, dl_manager: tfds.download.DownloadManager) -> pair_builder.Splits:
        candidates = pair_builder.roots(dl_manager, ARCHIVES)
        splits = {}
        for split, folder in (("train", "train"), ("validation", "val")):
            blurry, sharp = (
                pair_builder.first_with(candidates, f"{folder}/{folder}_{kind}")
                for kind in (self.builder_config.blurry.removesuffix("_test"), "sharp")
            )
            if blurry is None or sharp is None:
                continue
            pairs = []
            names = {p.parent.name for p in list_images(blurry)}
            for name in sorted(names | {p.parent.name for p in list_images(sharp)}):
                first, second = (list_images(side / name) for side in (blurry, sharp))
                matched = match(first, second, f"{folder} sequence {name}")
                pairs += [PairFiles(f"{name}-{b.stem}", b, s) for b, s in matched]
            splits[split] = pairs
        if "validation" in splits:
            # The frames that HINet and NAFNet use: "*9.*" of the flattened file names.
            splits["val300"] = [p for p in splits["validation"] if p.blurry.stem.endswith("9")]
        return splits
