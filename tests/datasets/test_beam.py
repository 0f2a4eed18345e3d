"""Data sets prepared by Apache Beam."""

import shutil

import numpy as np
import pytest

from deblur_tf.base.errors import DataError, UsageError
from deblur_tf.data.tfds_pairs import TfdsImages
from deblur_tf.datasets import prepare
from tests.support.datasets import dummy


@pytest.mark.parametrize("name", ["gopro", "reds", "hide"])
def test_workers_of_beam_write_the_same_in_the_same_order(name, tmp_path):
    pytest.importorskip("apache_beam")
    for folder, options in (("alone", {}), ("beam", {"beam_runner": "FnApiRunner"})):
        made = prepare.prepare(name, dummy(name), tmp_path / folder, subset=True, **options)
    assert made.info.splits.total_num_examples > 0
    for split in made.info.splits:
        a, b = (
            TfdsImages(f"{name}/{made.builder_config.name}", tmp_path / folder, split)
            for folder in ("alone", "beam")
        )
        assert [a.id(i) for i in range(len(a))] == [b.id(i) for i in range(len(b))]
        for i in range(len(a)):
            for image, other in zip(a[i], b[i], strict=True):
                np.testing.assert_array_equal(image, other)


def test_what_beam_cannot_prepare_is_said(tmp_path):
    pytest.importorskip("apache_beam")
    with pytest.raises(UsageError, match="div2k_blur is prepared in one process"):
        prepare.prepare(
            "div2k_blur", dummy("div2k_blur"), tmp_path, subset=True, beam_runner="FnApiRunner"
        )
    for path in (dummy("gopro") / "GOPRO_Large").rglob("*.png"):
        target = tmp_path / "in" / path.relative_to(dummy("gopro"))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    target.write_bytes(target.read_bytes()[:60])
    with pytest.raises(DataError, match=target.name):
        prepare.prepare(
            "gopro", tmp_path / "in", tmp_path / "data", subset=True, beam_runner="FnApiRunner"
        )
    assert not (tmp_path / "data").exists()
