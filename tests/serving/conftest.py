"""The model that the tests of serving share."""

import pytest

from tests.support.helpers import randomize
from tests.support.models import micro_model


@pytest.fixture(scope="module")
def small():
    built = micro_model()
    built.build()
    return randomize(built)
