"""icDPM that starts from a blind deconvolution, for small networks on a CPU. Ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from keras import ops

from deblur_tf.base.registry import configurable
from deblur_tf.base.types import Shape, Tensor
from deblur_tf.models.icdpm import GuidedDiffusion
from deblur_tf.models.restorer import DRIFT_NAMES, drift
from deblur_tf.networks.blind_wiener import BlindWiener
from deblur_tf.networks.guidance import Guidance


class Deconvolved(NamedTuple):
    """The condition of `DeconvolvedDiffusion`.

    Attributes:
      blurry: float32 [B, H, W, 3] in [-1, 1].
      guidance: the guidance network's output for the deconvolved image.
      image: the deconvolved image, float32 [B, H, W, 3], about [-1, 1].
    """

    blurry: Tensor
    guidance: Guidance
    image: Tensor


@configurable
class DeconvolvedDiffusion(GuidedDiffusion):
    """`GuidedDiffusion` whose blurry image is deconvolved first.

    A network of a few layers has a receptive field of a few dozen pixels and cannot estimate how
    the camera shook; filters computed from statistics of large windows can undo much of the shake.
    Guidance and diffusion then start from the deconvolved image: it is what is known of the
    sharp image. The UNet sees it beside the blurry one, which tells ringing from structure.

    Args:
      deconvolution: maps the blurry image to a deconvolved one of the same shape.
      learn_deconvolution: whether the diffusion loss trains it too. It was trained alone before
        (`training.objectives.deconvolution`), on far more images than this training sees.
      kwargs: see `GuidedDiffusion`.
    """

    seen_channels = 6
    diagnostic_names = DRIFT_NAMES

    def __init__(
        self,
        *args: Any,
        deconvolution: BlindWiener,
        learn_deconvolution: bool = False,
        name: str = "deconvolved_diffusion",
        **kwargs: Any,
    ):
        super().__init__(*args, name=name, **kwargs)
        self.deconvolution = deconvolution
        self.learn_deconvolution = learn_deconvolution

    def build(self, input_shape: Shape = (None, None, None, 3)) -> None:
        """Creates all variables; `input_shape` is that of the blurry image."""
        self.deconvolution.build(input_shape)
        super().build(input_shape)

    def condition(self, blurry: Tensor, noise: Sequence[Tensor] | None = None) -> Deconvolved:
        """The deconvolved image and its guidance, once per image. Arguments: see `Restorer`."""
        image = self.deconvolution(blurry)
        if not self.learn_deconvolution:
            image = ops.stop_gradient(image)
        return Deconvolved(blurry, super().condition(image, noise).guidance, image)

    def known(self, condition: Deconvolved) -> Tensor:
        """The deconvolved image."""
        return condition.image

    def seen(self, condition: Deconvolved) -> Tensor:
        """The deconvolved image, then the blurry one: [B, H, W, 6]."""
        return ops.concatenate([condition.image, condition.blurry], axis=-1)

    def diagnostics(self, condition: Deconvolved, sharp: Tensor) -> dict[str, Tensor]:
        """The colour drift of the deconvolved image."""
        return drift(condition.image, sharp)
