"""DvSR's initial predictor, sized for a CPU, with icDPM's multiscale structure in its trunk.

DvSR's predictor g is a UNet whose features are not used elsewhere (DvSR sec. 4); icDPM predicts the
sharp image's structure by separate networks (icDPM sec. 3.2). Here one trunk does both: the
decoder's features at 1/8, 1/4 and 1/2 of the size predict the gray sharp image there, by the
regression of icDPM eq. 2, on the way to the sharp image itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from deblur_tf.base.registry import configurable
from deblur_tf.base.types import Shape, Tensor
from deblur_tf.networks.blind_wiener import BlindWiener
from deblur_tf.networks.guidance import BAND_STDDEV, Guidance, structure
from deblur_tf.networks.initializers import GlorotUniform
from deblur_tf.networks.layers import ResidualBlock, check_policy, conv
from deblur_tf.networks.network import Network
from deblur_tf.numerics import image_ops

# Scale of the heads' initial weights relative to the usual. Starting from zero, the trunk would
# get no gradient in the first step, and in trials the heads stayed at zero.
HEAD_SCALE = 1e-2


@configurable
class StructurePredictor(Network):
    """Predicts the sharp image, and its gray structure at 1/2, 1/4, ... on the way.

    With a deconvolution it starts from the deconvolved image, and gets both images as input: a
    network of few layers cannot infer how the camera shook, but a filter derived from local
    statistics undoes the shake in part, and the network can tell which parts of the filter's
    result are noise and ringing.

    Squares of 2x2 pixels of the images and of their frequency bands become channels, so that
    nothing is computed at full size; then a UNet of residual blocks without normalisation: two
    strided convolutions down, two pixel shuffles up, and skips that are added. Each scale has a
    3x3 head that predicts the difference between the gray sharp image and the gray image that
    the network starts from (icDPM eq. 2); the finest scale also has a head for the colour image
    (DvSR sec. 4, g).

    Args:
      widths: channels at 1/2, 1/4, 1/8, ... of the size.
      blocks: residual blocks at each of these sizes in the encoder, and again in the decoder;
        at the last size, their total number.
      bands: sides in pixels of the boxes of the frequency bands, see `image_ops.bands`.
      deconvolution: maps the blurry image to a sharper one; None: the network starts from the
        blurry image itself.
      learn_deconvolution: whether it is trained further by the loss of this network. It was
        trained alone (`training.deconvolution`), on far more images than are used afterwards.
      dtype: policy of the body; the heads are float32 always.
    """

    def __init__(
        self,
        widths: Sequence[int] = (40, 80, 160),
        blocks: Sequence[int] = (1, 2, 6),
        bands: Sequence[int] = (3, 9, 27),
        deconvolution: BlindWiener | None = None,
        learn_deconvolution: bool = False,
        name: str = "structure_predictor",
        **kwargs: Any,
    ):
        if len(widths) != len(blocks) or not widths:
            raise ValueError(
                f"StructurePredictor: widths {tuple(widths)} and blocks {tuple(blocks)} must have "
                "one entry per scale each"
            )
        kwargs["autocast"] = False  # the heads' output is added to the image in float32
        super().__init__(name=name, **kwargs)
        check_policy(self)
        self.widths = tuple(widths)
        self.blocks = tuple(blocks)
        self.bands = image_ops.check_box_sizes(bands)
        self.deconvolution = deconvolution
        self.learn_deconvolution = learn_deconvolution
        if deconvolution is not None:
            deconvolution.trainable = learn_deconvolution
        policy = self.dtype_policy

        def stage(side: str, scale: int) -> list[ResidualBlock]:
            return [
                ResidualBlock(
                    widths[scale], use_embedding=False, name=f"{side}_{scale + 1}_{i}", dtype=policy
                )
                for i in range(blocks[scale])
            ]

        scales = range(len(widths))
        self.conv_in = conv(widths[0], 3, "conv_in", dtype=policy)
        self.encoder = [stage("encoder", k) for k in scales[:-1]]
        self.downs = [
            conv(widths[k + 1], 2, f"down_{k + 1}", strides=2, dtype=policy) for k in scales[:-1]
        ]
        self.middle = stage("middle", len(widths) - 1)
        self.ups = [conv(4 * widths[k], 1, f"up_{k + 1}", dtype=policy) for k in scales[:-1]]
        self.decoder = [stage("decoder", k) for k in scales[:-1]]

        def head(channels: int, name: str) -> keras.layers.Conv2D:
            start = GlorotUniform(scale=HEAD_SCALE)
            return conv(channels, 3, name, kernel_initializer=start, dtype="float32")

        self.structure_heads = [head(1, f"structure_{k + 1}") for k in scales]
        self.image_head = head(12, "image")

    @property
    def floats_per_pixel(self) -> float:
        """See `Network`: the inputs, all skips, and a block of the widest stage."""
        images = 1 if self.deconvolution is None else 2
        inputs = 3 * images * (1 + len(self.bands))
        skips = sum(w / 4 ** (k + 1) for k, w in enumerate(self.widths))
        return inputs + skips + 6 * self.widths[0] / 4

    @property
    def scales(self) -> tuple[int, ...]:
        """k of each structure, at 1/2^k of the size, fine to coarse."""
        return tuple(range(1, len(self.widths) + 1))

    @property
    def size_multiple(self) -> int:
        """Heights and widths must be multiples of this."""
        return 2 ** len(self.widths)

    def build(self, input_shape: Shape) -> None:
        """Creates the variables; `input_shape` is that of the blurry image."""

        def at(channels: int) -> Shape:
            return (None, None, None, channels)

        images = 1
        if self.deconvolution is not None:
            self.deconvolution.build(input_shape)
            images = 2
        self.conv_in.build(at(4 * images * input_shape[-1] * (1 + len(self.bands))))
        for k, width in enumerate(self.widths):
            self.structure_heads[k].build(at(width))
            if k < len(self.downs):
                for block in (*self.encoder[k], *self.decoder[k]):
                    block.build(at(width))
                self.downs[k].build(at(width))
                self.ups[k].build(at(self.widths[k + 1]))
        for block in self.middle:
            block.build(at(self.widths[-1]))
        self.image_head.build(at(self.widths[0]))

    def targets(self, sharp: Tensor) -> tuple[Tensor, ...]:
        """The structure of the sharp image that each head is to predict (icDPM eq. 2)."""
        return tuple(structure(sharp, k) for k in self.scales)

    def call(self, blurry: Tensor) -> tuple[Tensor, Guidance]:
        """The sharp image and its structure.

        Args:
          blurry: float32 [B, H, W, 3] in [-1, 1], H and W multiples of `size_multiple`.

        Returns:
          float32 [B, H, W, 3], about [-1, 1], and per scale k the decoder's features,
          [B, H / 2^k, W / 2^k, widths[k - 1]], with the predicted structure and its input.
        """
        known, images = blurry, blurry
        if self.deconvolution is not None:
            known = self.deconvolution(blurry)
            if not self.learn_deconvolution:
                known = ops.stop_gradient(known)
            images = ops.concatenate([known, blurry], axis=-1)
        bands = [band / BAND_STDDEV for band in image_ops.bands(images, self.bands)]
        h = self.conv_in(image_ops.space_to_depth(ops.concatenate([images, *bands], axis=-1), 2))

        skips = []
        for blocks, down in zip(self.encoder, self.downs, strict=True):
            for block in blocks:
                h = block(h)
            skips.append(h)
            h = down(h)

        for block in self.middle:
            h = block(h)
        features = [h]
        for k in reversed(range(len(self.decoder))):
            h = skips[k] + image_ops.depth_to_space(self.ups[k](h), 2)
            for block in self.decoder[k]:
                h = block(h)
            features.insert(0, h)

        seen = tuple(structure(known, k) for k in self.scales)
        predictions = tuple(
            x + head(f) for x, head, f in zip(seen, self.structure_heads, features, strict=True)
        )
        image = known + image_ops.depth_to_space(self.image_head(h), 2)
        return image, Guidance(tuple(features), predictions, seen)
