"""The interface of sources of training pairs, blurry and sharp."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from deblur_tf.base.types import Tensor

# Shape and dtype of each of the two parts of a pair.
Spec = tuple[tuple[tuple[int, ...], str], tuple[tuple[int, ...], str]]
# A pair: blurry and sharp.
ImagePair = tuple[np.ndarray, np.ndarray]


class PairSource:
    """Training pairs by number. A pair must be a pure function of its number.

    So any process can make any pair, and a resumed run sees the pairs that it would have seen.

    Attributes:
      crop_size: side of a pair in pixels.
      batch_multiple: batches must be a multiple of this.
      reads: what it reads from disk: "photos" in the folder `--photos`, a prepared "data set"
        below `--data_dir`, or "pairs" for which neither flag is used.
    """

    crop_size: int
    batch_multiple: int = 1
    reads: Literal["photos", "data set", "pairs"] = "photos"

    @property
    def spec(self) -> Spec:
        """Shape and dtype of both parts of a pair: images unless a source says otherwise."""
        image = ((self.crop_size, self.crop_size, 3), "uint8")
        return image, image

    def __call__(self, index: int) -> ImagePair:
        """Pair number `index`: blurry and sharp, uint8 [crop, crop, 3] each."""
        raise NotImplementedError

    def describe(self) -> str:
        """A phrase that says what the pairs are made from."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends what works for it in the background; no pairs are asked for afterwards."""


class DevicePairSource(PairSource):
    """A source whose pairs can also be made on a device, whole batches at once."""

    def arrays(self) -> dict[str, np.ndarray]:
        """What `make` needs, to be put on the device once."""
        raise NotImplementedError

    def make(
        self, arrays: Mapping[str, Tensor], numbers: Tensor, stream: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Pairs by number: int32 [B] -> blurry and sharp, uint8 [B, crop, crop, 3].

        A pair is a pure function of (seed, stream, number).
        """
        raise NotImplementedError
