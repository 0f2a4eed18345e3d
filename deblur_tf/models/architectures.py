"""The nine networks whose sizes the papers print, with the printed figures."""

from __future__ import annotations

import dataclasses

import keras

from deblur_tf.base.backend import shapes_only
from deblur_tf.models.flops import count_flops
from deblur_tf.models.icdpm import GuidedDiffusion
from deblur_tf.networks.guidance import MultiscaleGuidance
from deblur_tf.networks.unet import UNet


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network of the papers, with the size that they print for it.

    Attributes:
      name: name in the paper.
      source: paper and table.
      guide_channels: channels of the guidance network; None without guidance.
      unet_channels: base channels of the UNet.
      paper_params: parameters as printed, in millions.
      paper_gflops: operations as printed, in 1e9 at 720x1280.
      regression: whether it is a plain UNet from image to image, without noise level.
    """

    name: str
    source: str
    guide_channels: int | None
    unet_channels: int
    paper_params: float
    paper_gflops: float
    regression: bool = False

    def build(self) -> keras.Model:
        """The network, with variables."""
        if self.regression:
            unet = UNet(self.unet_channels, use_noise_level=False)
            unet.build((None, None, None, 3))
            return unet
        guidance = None
        if self.guide_channels is not None:
            guidance = MultiscaleGuidance(self.guide_channels)
        model = GuidedDiffusion(
            UNet(self.unet_channels, guided_depths=() if guidance is None else (1, 2, 3)),
            guidance,
        )
        model.build()
        return model


_DVSR, _ICDPM, _V1 = "DvSR T4", "icDPM T13", "icDPM v1 T11"

ARCHITECTURES = (
    Architecture("UNet ch=16", _DVSR, None, 16, 1.63, 301, regression=True),
    Architecture("UNet ch=32", _DVSR, None, 32, 6.52, 1200, regression=True),
    Architecture("UNet ch=64", _DVSR, None, 64, 26.07, 4790, regression=True),
    Architecture("icDPM-S", _ICDPM, None, 32, 6, 1200),
    Architecture("icDPM-L", _ICDPM, None, 64, 27, 4800),
    Architecture("icDPM-S w/ Guide-S", _ICDPM, 32, 32, 10, 2500),
    Architecture("icDPM-S w/ Guide-L", _V1, 64, 32, 30, 6400),
    Architecture("icDPM-L w/ Guide-S", _ICDPM, 32, 64, 30, 6100),
    Architecture("icDPM-L w/ Guide-L", _ICDPM, 64, 64, 52, 10000),
)


def sizes(row: Architecture) -> tuple[float, float]:
    """(millions of parameters, GFLOPs at 720x1280) as counted in our network."""
    with shapes_only():
        model = row.build()
        return model.count_params() / 1e6, count_flops(model) / 1e9
