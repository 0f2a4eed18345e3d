"""Test of the gopro builder on small images in its layout."""

import tensorflow_datasets as tfds

from deblur_tf.datasets.gopro import gopro_dataset_builder


class GoProTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = gopro_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["blur_subset", "blur_gamma_subset"]
    SPLITS = {"train": 2, "test": 2}
