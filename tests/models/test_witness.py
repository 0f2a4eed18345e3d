"""The same seeds give the same pictures as in earlier versions."""

import numpy as np
import pytest

from tests.support.make_witness import FILE, pictures


@pytest.mark.slow
def test_pictures_are_those_of_earlier_versions(eager_steps):
    with np.load(FILE) as stored:
        found = pictures()
        assert set(stored.files) == set(found)
        for name, want in stored.items():
            # Stored in half precision; other processors round otherwise.
            np.testing.assert_allclose(found[name], want, atol=4e-3, err_msg=name)
