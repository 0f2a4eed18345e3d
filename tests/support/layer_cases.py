"""How each layer is made and called, its output shape and number of parameters."""

import numpy as np

from deblur_tf.networks import guidance, latent_layers, layers
from deblur_tf.networks.control import ControlBranch
from deblur_tf.networks.latent_unet import LatentUNet
from deblur_tf.networks.predictor import StructurePredictor
from tests.support.helpers import images, natural
from tests.support.latent_case import UNET
from tests.support.models import blind_wiener

EMBEDDING = images(9, 2, 16)


X = images(1, 2, 8, 8, 4)


TIMESTEPS, CONTEXT = np.array([3.0, 997.0], "float32"), images(5, 1, *UNET["context_shape"])


WORDS = (None, *UNET["context_shape"])


# layer, build arguments, call arguments, output shape, number of parameters
CASES = {
    "NoiseLevelEmbedding": (
        lambda **k: layers.NoiseLevelEmbedding(16, **k),
        ((None,),),
        (np.array([0.1, 0.9], "float32"),),
        (2, 16),
        64 * 16 + 16 + 16 * 16 + 16,
    ),
    "ResidualBlock": (
        lambda **k: layers.ResidualBlock(6, **k),
        ((None, None, None, 4), (None, 16)),
        (X, EMBEDDING),
        (2, 8, 8, 6),
        9 * 4 * 6 + 6 + 9 * 36 + 6 + 16 * 6 + 6 + 4 * 6 + 6,
    ),
    "ResidualBlock/down": (
        lambda **k: layers.ResidualBlock(4, "down", use_embedding=False, **k),
        ((None, None, None, 4),),
        (X,),
        (2, 4, 4, 4),
        2 * (9 * 16 + 4),
    ),
    "ResidualBlock/up": (
        lambda **k: layers.ResidualBlock(4, "up", use_embedding=False, **k),
        ((None, None, None, 4),),
        (X,),
        (2, 16, 16, 4),
        2 * (9 * 16 + 4),
    ),
    "GuidedResidualBlock": (
        lambda **k: layers.GuidedResidualBlock(4, **k),
        ((None, None, None, 4), (None, None, None, 3), (None, 16)),
        (X, images(2, 2, 8, 8, 3), EMBEDDING),
        (2, 8, 8, 4),
        2 * (9 * 16 + 4) + 16 * 4 + 4 + 3 * 4 + 4,
    ),
    "GuidedResidualBlock/concat": (
        lambda **k: layers.GuidedResidualBlock(4, "concat", **k),
        ((None, None, None, 4), (None, None, None, 3), (None, 16)),
        (X, images(2, 2, 8, 8, 3), EMBEDDING),
        (2, 8, 8, 4),
        2 * (9 * 16 + 4) + 16 * 4 + 4 + (4 + 3) * 4 + 4,
    ),
    "GuidedResidualBlock/adagn": (
        lambda **k: layers.GuidedResidualBlock(4, "adagn", **k),
        ((None, None, None, 4), (None, None, None, 3), (None, 16)),
        (X, images(2, 2, 8, 8, 3), EMBEDDING),
        (2, 8, 8, 4),
        2 * (9 * 16 + 4) + 16 * 4 + 4 + 3 * 8 + 8,
    ),
    "GuidanceTransform/rgb": (
        lambda **k: guidance.GuidanceTransform(1, target="rgb", **k),
        ((None, None, None, 3),),
        (images(3, 2, 8, 8, 3),),
        (2, 4, 4, 3),
        0,
    ),
    "MultiscaleGuidance/rgb": (
        lambda **k: guidance.MultiscaleGuidance(
            2, scales=(3,), target="rgb", num_res_blocks=1, num_middle_blocks=1, **k
        ),
        ((None, None, None, 3),),
        (images(3, 2, 16, 16, 3),),
        (2, 2, 2, 2),
        None,
    ),
    "GuidanceNetwork/bands": (
        lambda **k: guidance.GuidanceNetwork(
            2, num_res_blocks=1, num_middle_blocks=1, bands=(3, 5), **k
        ),
        ((None, None, None, 1),),
        (images(3, 2, 8, 8, 1),),
        (2, 8, 8, 2),
        None,
    ),
    "GuidanceTransform": (
        lambda **k: guidance.GuidanceTransform(1, **k),
        ((None, None, None, 3),),
        (images(3, 2, 8, 8, 3),),
        (2, 4, 4, 1),
        0,
    ),
    "GuidanceNetwork": (
        lambda **k: guidance.GuidanceNetwork(2, num_res_blocks=1, num_middle_blocks=1, **k),
        ((None, None, None, 1),),
        (images(3, 2, 8, 8, 1),),
        (2, 8, 8, 2),
        None,
    ),
    "MultiscaleGuidance": (
        lambda **k: guidance.MultiscaleGuidance(2, num_res_blocks=1, num_middle_blocks=1, **k),
        ((None, None, None, 3),),
        (images(3, 2, 16, 16, 3),),
        (2, 8, 8, 2),
        None,
    ),
    "TimestepEmbedding": (
        lambda **k: latent_layers.TimestepEmbedding(8, 16, **k),
        ((None,),),
        (TIMESTEPS,),
        (2, 16),
        8 * 16 + 16 + 16 * 16 + 16,
    ),
    "NormalizedBlock": (
        lambda **k: latent_layers.NormalizedBlock(6, 2, **k),
        ((None, None, None, 4), (None, 16)),
        (X, EMBEDDING),
        (2, 8, 8, 6),
        2 * 4 + 9 * 4 * 6 + 6 + 16 * 6 + 6 + 2 * 6 + 9 * 36 + 6 + 4 * 6 + 6,
    ),
    "SpatialTransformer": (
        lambda **k: latent_layers.SpatialTransformer(2, 2, **k),
        ((None, None, None, 4), WORDS),
        (X, np.repeat(CONTEXT, 2, 0)),
        (2, 8, 8, 4),
        # Four norms, two projections, attention to each other and to words of 24, the gated two.
        4 * 2 * 4 + 2 * 20 + (4 * 16 + 4) + (2 * 16 + 2 * 96 + 4) + (4 * 32 + 32) + (16 * 4 + 4),
    ),
    "SpatialTransformer/window": (
        lambda **k: latent_layers.SpatialTransformer(2, 2, window=4, **k),
        ((None, None, None, 4), WORDS),
        (X, np.repeat(CONTEXT, 2, 0)),
        (2, 8, 8, 4),
        None,
    ),
    "StructurePredictor": (
        lambda **k: StructurePredictor((2, 4), (1, 1), bands=(3,), **k),
        ((None, None, None, 3),),
        (X[..., :3],),
        (2, 8, 8, 3),
        # In; a block a side and in the middle; down and up; three heads.
        (9 * 24 * 2 + 2)
        + 2 * 2 * (9 * 4 + 2)
        + 2 * (9 * 16 + 4)
        + (4 * 8 + 4)
        + (32 + 8)
        + (18 + 1)
        + (36 + 1)
        + (18 * 12 + 12),
    ),
    "StructurePredictor/deconvolution": (
        lambda **k: StructurePredictor((2, 4), (1, 1), (3,), blind_wiener(window=128), **k),
        ((None, None, None, 3),),
        (natural(3, 96, 160)[None],),
        (1, 96, 160, 3),
        None,
    ),
    "LatentUNet": (
        lambda **k: LatentUNet(**UNET, **k),
        ((None, None, None, 4),),
        (X, TIMESTEPS, CONTEXT),
        (2, 8, 8, 4),
        None,
    ),
    "ControlBranch": (
        lambda **k: ControlBranch(**UNET, **k),
        ((None, None, None, 4),),
        (X, TIMESTEPS, CONTEXT),
        (2, 8, 8, 32),
        None,
    ),
}
