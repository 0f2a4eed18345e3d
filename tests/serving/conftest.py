"""The model that the tests of serving share."""

import pytest

from deblur_tf.inference.deblurrer import Deblurrer
from tests.support.helpers import randomize
from tests.support.models import micro_model
from tests.support.serving import MAX_PIXELS


@pytest.fixture(scope="module")
def small():
    built = micro_model()
    built.build()
    return randomize(built)


@pytest.fixture(scope="module")
def exported(small, tmp_path_factory):
    """A folder with version 1 of an exported model, and the same in Python."""
    from deblur_tf.diffusion.sampling import SamplingSettings
    from deblur_tf.serving.export import export

    folder = tmp_path_factory.mktemp("exported")
    sampling = SamplingSettings(steps=2, beta_max=0.8)
    target = export(small, folder, sampling, MAX_PIXELS, warm_up=[(20, 30)])
    assert target == folder / "1"
    return folder, Deblurrer(small, sampling=sampling, tile=0)
