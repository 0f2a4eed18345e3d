"""Shared fixtures. Nothing here needs a download or data outside the packages."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# What XLA compiles here runs once or twice: compiling fast counts for more than running fast.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)

import pytest

from tests.support.helpers import randomize  # noqa: E402
from tests.support.models import micro_model, small_model  # noqa: E402

# Building networks makes millions of objects that live on: looking for cycles among them
# after each 700 took a twentieth of the time.
gc.set_threshold(100_000, 20, 20)


def pytest_collection_modifyitems(items):
    """Spreads modules over two processes, each of which begins with a half of the tests.

    Slow tests come first in each half: a long one that came last would leave the other idle.
    """
    modules = list(dict.fromkeys(item.path for item in items))
    half = {module: number % 2 for number, module in enumerate(modules)}
    items.sort(key=lambda item: (half[item.path], item.get_closest_marker("slow") is None))


@pytest.fixture(scope="session")
def model():
    """A guided model with random weights; tests must not change it."""
    built = small_model()
    built.build()
    return randomize(built)


@pytest.fixture(scope="session")
def micro():
    """`micro_model` likewise: for what compiles it."""
    built = micro_model()
    built.build()
    return randomize(built)


@pytest.fixture(scope="session")
def micro_dir(tmp_path_factory):
    """A model folder for programs, of which the networks of the box take seconds to trace."""
    from deblur_tf.diffusion.outputs import Residual
    from deblur_tf.diffusion.sampling import SamplingSettings
    from deblur_tf.models import saved

    built = micro_model(Residual())
    built.build()
    folder = tmp_path_factory.mktemp("micro")
    saved.save_model(built, folder, SamplingSettings(1, 0.9975))
    return folder


@pytest.fixture(scope="session")
def photos():
    from deblur_tf.data.photos import open_photos

    return open_photos(None)


@pytest.fixture
def eager_steps():
    """For a few small steps, of which tracing would take longer."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
