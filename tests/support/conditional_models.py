"""Every kind of model of the two papers, at a few channels."""

from deblur_tf.diffusion.outputs import Residual, Velocity
from deblur_tf.models import inputs
from deblur_tf.models.alignment import AlignedDiffusion
from deblur_tf.models.dvsr import DvSR
from deblur_tf.models.icdpm import GuidedDiffusion
from deblur_tf.models.regression import Regression
from deblur_tf.networks.guidance import MultiscaleGuidance
from deblur_tf.networks.predictor import StructurePredictor
from deblur_tf.networks.unet import UNet
from tests.support.models import blind_wiener, deconvolved_model

SHALLOW = {"num_res_blocks": 1, "num_middle_blocks": 1}


def dvsr(output=None):
    return DvSR(
        UNet(4, (1, 2), use_noise_level=False, name="predictor", **SHALLOW),
        UNet(4, (1, 2), name="denoiser", **SHALLOW),
        output=output,
    )


def structured(**settings):
    """DvSR whose denoiser is guided by the structure that its predictor predicts."""
    return DvSR(
        StructurePredictor((2, 4), (1, 1), (3,)),
        UNet(4, (1, 2), guided_depths=(0, 1), patch=2, **SHALLOW),
        **settings,
    )


def regression():
    return Regression(UNet(4, (1, 2), use_noise_level=False, **SHALLOW))


def variant(depths=(1,), injection="add", see=None, scales=(1,), target="gray"):
    return GuidedDiffusion(
        UNet(4, (1, 2), guided_depths=depths, injection=injection, **SHALLOW),
        MultiscaleGuidance(2, scales=scales, target=target, channel_multipliers=(1,), **SHALLOW),
        inputs=see,
    )


# Every kind of model, by the row that it stands for.
MODELS = {
    "DvSR": dvsr,
    "DvSR, velocity": lambda: dvsr(Velocity()),
    "DvSR, residual": lambda: dvsr(Residual(0.1)),
    "Table 4 of DvSR": regression,
    "Table 9 b": lambda: variant((), see=inputs.NoisyBlurryAndPrediction(), target="rgb"),
    "Table 9 c": lambda: variant(target="rgb"),
    "Table 10 concat": lambda: variant(injection="concat"),
    "Table 10 adagn": lambda: variant(injection="adagn"),
    "Table 11 without": lambda: variant(see=inputs.NoisyOnly(), target="rgb"),
    "bands": lambda: variant(see=inputs.NoisyBlurryAndBands((3, 5))),
    "coarser scale unused in the latent": lambda: variant((1,), scales=(1, 2)),
    "deconvolved": deconvolved_model,
    "deconvolution alone": lambda: Regression(blind_wiener()),
    "structure": lambda: Regression(StructurePredictor((2, 4), (1, 1), (3,))),
    "DvSR, structure": lambda: structured(),
    "DvSR, structure frozen": lambda: structured(learn_predictor=False, sees_prediction=True),
    "DvSR, deconvolution": lambda: DvSR(blind_wiener(), UNet(4, (1, 2), **SHALLOW)),
}


def aligned():
    return AlignedDiffusion(
        UNet(4, (1, 2), guided_depths=(1,), **SHALLOW),
        MultiscaleGuidance(2, scales=(1,), channel_multipliers=(1,), **SHALLOW),
        discriminator_channels=4,
    )
