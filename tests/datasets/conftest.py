"""Fixtures of tests of data sets."""

import pytest

from deblur_tf.datasets import prepare
from tests.support.datasets import dummy


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    prepare.prepare("gopro", dummy("gopro"), root, subset=True)
    return root
