"""Fourier transforms, as such and as products."""

import numpy as np
import pytest

from deblur_tf.numerics import fourier


@pytest.mark.parametrize("shape", [(2, 3, 32, 48), (1, 7, 5)])
@pytest.mark.parametrize("products", [False, True])
def test_transforms_are_those_of_numpy(shape, products):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    parts = x.real.astype("float32"), x.imag.astype("float32")
    for ours, numpys in ((fourier.fft2, np.fft.fft2), (fourier.ifft2, np.fft.ifft2)):
        if products:
            with fourier.as_products():
                found = ours(parts)
        else:
            found = ours(parts)
        want = numpys(x)
        scale = np.abs(want).max()
        np.testing.assert_allclose(np.array(found[0]), want.real, atol=2e-6 * scale)
        np.testing.assert_allclose(np.array(found[1]), want.imag, atol=2e-6 * scale)


def test_the_context_ends_after_an_error():
    with pytest.raises(ValueError, match="mine"), fourier.as_products():
        raise ValueError("mine")
    assert not fourier._state["products"]
