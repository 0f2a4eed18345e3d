"""Large images in overlapping tiles that are blended at every step.

The network is evaluated tile by tile, and its outputs are averaged where tiles overlap before
the sampler goes on. The weights fall towards the edges of a tile, but not towards the edges of
the image. So tiles cannot drift apart, and the sampler, which sees one large image, needs no
change. The condition, guidance included, is assembled in the same way, once per image; noise is
a function of the position, see `deblur_tf.numerics.noise`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from deblur_tf.base.backend import compiled
from deblur_tf.base.errors import UsageError
from deblur_tf.base.types import Tensor
from deblur_tf.diffusion import samplers
from deblur_tf.diffusion.outputs import Estimate
from deblur_tf.diffusion.schedules import Schedule
from deblur_tf.models.restoration import (
    SAMPLER_STREAM,
    Prepared,
    Restoration,
    guidance_noise,
)
from deblur_tf.models.restorer import RegressionRestorer, Restorer
from deblur_tf.numerics import image_ops, noise

DEFAULT_OVERLAP = 32
NOISE_STRIP = 1 << 20  # pixels of noise drawn at a time


def along(size: int, side: int, overlap: int, multiple: int = 1) -> list[tuple[int, np.ndarray]]:
    """Splits one axis into as few tiles as possible, and these as small as possible.

    Args:
      size: size of the image along the axis, in pixels.
      side: largest side of a tile.
      overlap: smallest number of pixels that neighbours share, less than `side`.
      multiple: all of the above are multiples of it, and so are starts and sides of tiles.

    Returns:
      (start, weights) of each tile, weights being float32 [side]. The weights that a pixel has
      in all tiles add up to 1.
    """
    count = 1 if size <= side else -(-(size - overlap) // (side - overlap))
    each = -(-(size + (count - 1) * overlap) // count)
    side = min(-(-each // multiple) * multiple, size)
    gaps = max(count - 1, 1)
    starts = [i * (size - side) // gaps // multiple * multiple for i in range(count)]
    total, tiles = np.zeros(size), []
    for i, start in enumerate(starts):
        weight = np.ones(side)
        for shared, edge in (
            (starts[i - 1] + side - start if i else 0, weight),
            (start + side - starts[i + 1] if i + 1 < count else 0, weight[::-1]),
        ):
            # The outermost quarter of the overlap lacks most context, so its weight is zero.
            inner = max(shared - 2 * (shared // 4), 1)
            edge[:shared] *= np.clip((np.arange(shared) + 0.5 - shared // 4) / inner, 0.0, 1.0)
        total[start : start + side] += weight
        tiles.append((start, weight))
    shares = [(start, w / total[start : start + side]) for start, w in tiles]
    return [(start, share.astype(np.float32)) for start, share in shares]


@dataclasses.dataclass(frozen=True)
class Tile:
    """A part of an image.

    Attributes:
      top, left: position of its first pixel.
      rows, columns: weights along each axis, float32 [height] and [width].
    """

    top: int
    left: int
    rows: np.ndarray
    columns: np.ndarray

    def of(self, array: np.ndarray, image_height: int) -> np.ndarray:
        """Cuts this tile out of an array [B, H / f, W / f, C] of an image of height H."""
        f = image_height // array.shape[1]
        height, width = len(self.rows) // f, len(self.columns) // f
        top, left = self.top // f, self.left // f
        return array[:, top : top + height, left : left + width]


def check_overlap(side: int, overlap: int, multiple: int = 1) -> tuple[int, int]:
    """Side and overlap of tiles, rounded up to multiples.

    Raises:
      UsageError: if the overlap is half of the side or more.
    """
    side, overlap = (-(-n // multiple) * multiple for n in (side, overlap))
    if not 0 <= 2 * overlap < side:
        raise UsageError(
            f"tiles of {side} pixels cannot overlap by {overlap}: less than half is needed; "
            "give a smaller --tile_overlap or a larger --tile"
        )
    return side, overlap


class Grid:
    """The tiles of one image, all of one size, which is no larger than asked for.

    Args:
      height, width: size of the image, multiples of `multiple`.
      side: largest side of the tiles in pixels.
      overlap: smallest number of pixels that neighbours share.
      multiple: sizes and positions of tiles are multiples of it; `side` and `overlap`
        are rounded up.

    Raises:
      UsageError: if the overlap is half of the side or more.
    """

    def __init__(self, height: int, width: int, side: int, overlap: int, multiple: int = 1):
        side, overlap = check_overlap(side, overlap, multiple)
        self.height, self.width = height, width
        self._rows = along(height, side, overlap, multiple)
        self._columns = along(width, side, overlap, multiple)

    def __len__(self) -> int:
        return len(self._rows) * len(self._columns)

    def __iter__(self) -> Iterator[Tile]:
        for (top, rows), (left, columns) in itertools.product(self._rows, self._columns):
            yield Tile(top, left, rows, columns)

    def blend(self, parts: Callable[[Tile], Any]) -> Any:
        """Assembles whole images as weighted means of what is computed for the tiles.

        Args:
          parts: returns, for a tile, a nested structure of arrays [B, h / f, w / f, C], f being
            a divisor of `multiple` that may differ from array to array.

        Returns:
          The same structure of NumPy arrays, float32 [B, H / f, W / f, C].
        """
        whole: list[np.ndarray] = []
        structure = None
        for tile in self:
            found = parts(tile)
            structure = found if structure is None else structure
            for i, leaf in enumerate(keras.tree.flatten(found)):
                part = ops.convert_to_numpy(leaf)
                batch, height, width, channels = part.shape
                f = len(tile.rows) // height
                if len(whole) == i:
                    shape = (batch, self.height // f, self.width // f, channels)
                    whole.append(np.zeros(shape, np.float32))
                rows, columns = (w.reshape(-1, f).mean(1) for w in (tile.rows, tile.columns))
                weights = (rows[:, None] * columns)[..., None]
                tile.of(whole[i], self.height)[...] += weights * part
        return keras.tree.pack_sequence_as(structure, whole)


class TiledRestoration(Restoration):
    """A `Restoration` that evaluates the network on one tile at a time.

    For the whole image, only a few float32 arrays of its size and its condition are kept.

    Args:
      model, sampler: see `Restoration`.
      side: largest side of the tiles in pixels.
      overlap: smallest number of pixels that neighbours share.
    """

    def __init__(
        self,
        model: Restorer,
        sampler: samplers.Sampler | None = None,
        side: int = 512,
        overlap: int = DEFAULT_OVERLAP,
    ):
        super().__init__(model, sampler)
        self.side, self.overlap = side, overlap
        self._compiled_part = compiled(model, self._part_condition)
        self._compiled_estimate = compiled(model, self._part_estimate)
        self._compiled_decoding = compiled(model, self._part_image)
        self._on_tile: Callable[[float], None] | None = None

    def _grid(self, image: np.ndarray) -> Grid:
        return Grid(
            image.shape[1], image.shape[2], self.side, self.overlap, self.model.size_multiple
        )

    def _part_condition(self, blurry: Tensor, keys: Tensor, top: Tensor, left: Tensor) -> Any:
        height, width = ops.shape(blurry)[1:3]
        drawn = guidance_noise(self.model, keys, height, width, (top, left))
        return self.model.condition(blurry, drawn)

    def _part_estimate(self, noisy: Tensor, noise_level: Tensor, condition: Any) -> Estimate:
        return super()._denoise(noisy, noise_level, (condition, None))

    def prepare(self, blurry: np.ndarray | Tensor, keys: Tensor) -> Prepared:
        """See `Restoration.prepare`."""
        height, width = blurry.shape[1:3]
        image = ops.convert_to_numpy(
            image_ops.pad_to_multiple(
                ops.convert_to_tensor(blurry, dtype="float32"), self.model.size_multiple
            )
        )

        def part(tile: Tile) -> Any:
            corner = (ops.convert_to_tensor(n, dtype="int32") for n in (tile.top, tile.left))
            return self._compiled_part(tile.of(image, image.shape[1]), keys, *corner)

        condition = self._grid(image).blend(part)
        return Prepared(condition._replace(blurry=image), height, width)

    def _denoise(self, noisy: Tensor, noise_level: Tensor, given: Any) -> Estimate:
        condition, _ = given
        noisy = ops.convert_to_numpy(noisy)
        grid = self._grid(condition.blurry)
        done = itertools.count(1)

        def part(tile: Tile) -> Estimate:
            cut = partial(tile.of, image_height=grid.height)
            estimate = self._compiled_estimate(
                cut(noisy), noise_level, keras.tree.map_structure(cut, condition)
            )
            if self._on_tile is not None:
                self._on_tile(next(done) / len(grid))
            return estimate

        return grid.blend(part)

    def _part_image(self, target: Tensor, condition: Any) -> Tensor:
        return self.model.to_image(target, condition)

    def _to_image(self, target: Tensor, condition: Any) -> Tensor:
        grid = self._grid(condition.blurry)
        if target.shape[1] == grid.height:  # an image: `to_image` is at most a sum
            return self.model.to_image(target, condition)
        target = ops.convert_to_numpy(target)

        def part(tile: Tile) -> Tensor:
            cut = partial(tile.of, image_height=grid.height)
            return self._compiled_decoding(cut(target), keras.tree.map_structure(cut, condition))

        return grid.blend(part)

    def _noise(self, t: Any, given: Any) -> np.ndarray:
        condition, keys = given
        batch, height, width, channels = (int(n) for n in self.model.target_shape(condition))
        stream = noise.fold_in(noise.fold_in(keys, SAMPLER_STREAM), t)
        result = np.empty((batch, height, width, channels), np.float32)
        rows = max(NOISE_STRIP // width, 1)
        for top in range(0, height, rows):
            strip = result[:, top : top + rows]
            strip[...] = noise.normal(stream, strip.shape[1], width, channels, (top, 0))
        return result

    def sample(
        self,
        prepared: Prepared,
        keys: Tensor,
        schedule: Schedule,
        on_step: Callable[[float], object] | None = None,
    ) -> Tensor:
        """See `Restoration.sample`; `on_step` is also called after each tile, with a fraction."""
        condition, given = prepared.condition, (prepared.condition, keys)
        if isinstance(self.model, RegressionRestorer):
            image = self.model.restore(condition)
        else:
            steps_done = 0

            def after_step(done: int) -> None:
                nonlocal steps_done
                steps_done = done
                if on_step is not None:
                    on_step(done)

            reached = 0.0

            def after_tile(share: float) -> None:
                nonlocal reached  # a sampler may evaluate the network twice per step
                if steps_done + share > reached:
                    reached = steps_done + share
                    if on_step is not None:
                        on_step(reached)

            self._on_tile = None if on_step is None else after_tile
            target = samplers.run(
                self.sampler,
                self._body,
                self._noise(schedule.steps, given),
                self.sampler.table(schedule),
                schedule.steps,
                given,
                partial(samplers.python_loop, on_step=after_step),
            )
            image = self._to_image(target, condition)
        return self.finish(image, condition, prepared.height, prepared.width)
