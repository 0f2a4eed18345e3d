"""Shared fixtures. Nothing here needs a download or data outside the packages."""

import gc
import os
import signal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# What XLA compiles here runs once or twice: compiling fast counts for more than running fast.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)

import numpy as np
import pytest
from scipy import ndimage

# Building networks makes millions of objects that live on: looking for cycles among them
# after each 700 took a twentieth of the time.
gc.set_threshold(100_000, 20, 20)


def small_model(guided=True, output=None, dtype="float32", base=8, guide=4):
    """A one-block network that runs in milliseconds."""
    from deblur_tf.models.icdpm import GuidedDiffusion
    from deblur_tf.networks.guidance import MultiscaleGuidance
    from deblur_tf.networks.unet import UNet

    shallow = {"num_res_blocks": 1, "num_middle_blocks": 1, "dtype": dtype}
    return GuidedDiffusion(
        UNet(base, guided_depths=(1, 2, 3) if guided else (), **shallow),
        MultiscaleGuidance(guide, **shallow) if guided else None,
        output=output,
    )


def micro_model(output=None, dtype="float32"):
    """Two depths and one scale: for tests that compile a whole training step."""
    from deblur_tf.models.icdpm import GuidedDiffusion
    from deblur_tf.networks.guidance import MultiscaleGuidance
    from deblur_tf.networks.unet import UNet

    shallow = {"num_res_blocks": 1, "num_middle_blocks": 1, "dtype": dtype}
    return GuidedDiffusion(
        UNet(4, (1, 2), guided_depths=(1,), **shallow),
        MultiscaleGuidance(2, scales=(1,), channel_multipliers=(1,), **shallow),
        output=output,
    )


def nano_model(output=None, dtype="float32"):
    """One depth and no guidance: for tests that compile training steps time and again."""
    from deblur_tf.models.icdpm import GuidedDiffusion
    from deblur_tf.networks.unet import UNet

    shallow = {"num_res_blocks": 1, "num_middle_blocks": 1, "dtype": dtype}
    return GuidedDiffusion(UNet(4, (1,), guided_depths=(), **shallow), None, output=output)


def random_filter(seed=0):
    """Two kernels and noise ratios of a Wiener filter, see `deconvolution.wiener`."""
    from deblur_tf.data import blur

    kernel = np.stack([blur.random_kernel(np.random.default_rng(seed + i)) for i in range(2)])
    ratio = 0.2 * np.random.default_rng(seed).standard_normal((2, 19, 19)).astype("float32")
    ratio = (ratio + ratio[:, ::-1, ::-1]) / 2
    ratio[:, 9, 9] = -3.0
    return kernel, ratio


def natural(seed, height, width):
    """A picture with edges: patches of constant colour under some texture, in [-1, 1]."""
    rng = np.random.default_rng(seed)
    cells = ndimage.zoom(rng.random((height // 8 + 1, width // 8 + 1, 3)), (8, 8, 1), order=0)
    texture = 0.05 * rng.standard_normal((height, width, 3))
    return np.clip(2 * cells[:height, :width] - 1 + texture, -1, 1).astype("float32")


def blind_wiener(**sizes):
    """A blind deconvolution whose network is as small as can be."""
    from deblur_tf.networks.blind_wiener import BlindWiener
    from deblur_tf.networks.unet import UNet

    shallow = {"num_res_blocks": 1, "num_middle_blocks": 1, "use_noise_level": False}
    return BlindWiener(UNet(4, (1, 2), out_channels=2, patch=4, **shallow), **sizes)


def deconvolved_model(**settings):
    """`micro_model` behind a blind deconvolution."""
    from deblur_tf.diffusion.outputs import Residual
    from deblur_tf.models.deconvolved import DeconvolvedDiffusion
    from deblur_tf.models.inputs import NoisyBlurryAndBands

    micro = micro_model()
    return DeconvolvedDiffusion(
        micro.unet,
        micro.guidance,
        NoisyBlurryAndBands((3,)),
        Residual(),
        deconvolution=blind_wiener(),
        **settings,
    )


def latent_parts(kind="kernels", window=None):
    """The parts of `latent_model`, the smallest that have every kind of layer."""
    from deblur_tf.networks.control import ControlBranch
    from deblur_tf.networks.kernels import LatentKernelPredictor, LatentPredictor, Once
    from deblur_tf.networks.latent_unet import LatentUNet
    from deblur_tf.networks.vae import AutoencoderKL

    sizes = {"base_channels": 8, "channel_multipliers": (1,), "num_res_blocks": 1}
    sizes |= {"attention_depths": (), "head_width": 8, "groups": 4, "context_shape": (2, 8)}
    sizes |= {"window": window}

    def unet(channels=4):
        return LatentUNet(out_channels=channels, name="unet", **sizes)

    predictors = {
        "kernels": lambda: LatentKernelPredictor(unet(100), name="predictor"),
        "direct": lambda: LatentPredictor(unet(4), name="predictor"),
        "once": lambda: Once(LatentKernelPredictor(unet(100))),
        "control": lambda: None,
    }
    vae = AutoencoderKL((8, 8), 1, groups=4)
    return vae, unet(), ControlBranch(**sizes), predictors[kind]()


def latent_model(kind="kernels", window=None, **settings):
    """A DeblurDiff of a few channels, and its ablations: "direct", "once", "control"."""
    from deblur_tf.models.deblurdiff import DeblurDiff

    return DeblurDiff(*latent_parts(kind, window), **settings)


MODELS = {"small": small_model, "micro": micro_model, "deconvolved": deconvolved_model}


def randomize(model, seed=0, scale=0.1):
    """Gives every weight a random value: zero-initialised convs hide mistakes."""
    rng = np.random.default_rng(seed)
    for variable in sorted(model.variables, key=lambda v: v.path):
        variable.assign(scale * rng.standard_normal(variable.shape).astype("float32"))
    return model


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


def slow_but(cases, *kept):
    """Cases of which those that are not `kept` run with the slow tests alone."""
    return [c if c in kept else pytest.param(c, marks=pytest.mark.slow) for c in cases]


def hears_ctrl_c():
    """For `preexec_fn`: a process started in the background ignores SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def images(seed, *shape):
    """float32 uniform in [-1, 1]."""
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype("float32")
