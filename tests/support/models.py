"""Small models that run in milliseconds."""


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


def blind_wiener(**sizes):
    """A blind deconvolution whose network is as small as can be."""
    from deblur_tf.networks.blind_wiener import BlindWiener
    from deblur_tf.networks.unet import UNet

    shallow = {"num_res_blocks": 1, "num_middle_blocks": 1, "use_noise_level": False}
    return BlindWiener(
        UNet(4, (1, 2), out_channels=2, patch=4, **shallow), **({"window": 128} | sizes)
    )


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
    from deblur_tf.networks.kernels import (
        LatentKernelPredictor,
        LatentPredictor,
        StepIndependentPredictor,
    )
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
        "once": lambda: StepIndependentPredictor(LatentKernelPredictor(unet(100))),
        "control": lambda: None,
    }
    vae = AutoencoderKL((8, 8), 1, groups=4)
    return vae, unet(), ControlBranch(**sizes), predictors[kind]()


def latent_model(kind="kernels", window=None, **settings):
    """A DeblurDiff of a few channels, and its ablations: "direct", "once", "control"."""
    from deblur_tf.models.deblurdiff import DeblurDiff

    return DeblurDiff(*latent_parts(kind, window), **settings)


MODELS = {"small": small_model, "micro": micro_model, "deconvolved": deconvolved_model}
