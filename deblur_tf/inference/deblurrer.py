"""Restores photographs of any size with a trained model."""

from __future__ import annotations

import itertools
import os
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Literal, Unpack, cast

import numpy as np
from PIL import Image

from deblur_tf.base.errors import UsageError
from deblur_tf.diffusion.fidelity import FidelityCurve
from deblur_tf.diffusion.samplers import Sampler
from deblur_tf.diffusion.sampling import DEFAULT_SAMPLING, SamplingSettings
from deblur_tf.inference import frames, memory, pictures, triage
from deblur_tf.inference.color_guard import keep_low_frequencies
from deblur_tf.inference.drawing import draw_samples
from deblur_tf.inference.settings import Settings
from deblur_tf.models.precision import precision_of
from deblur_tf.models.restoration import Prepared, Restoration, sample_keys
from deblur_tf.models.restorer import Restorer
from deblur_tf.models.saved import AVERAGED, load_model
from deblur_tf.models.tiles import DEFAULT_OVERLAP, TiledRestoration, check_overlap
from deblur_tf.numerics import image_ops
from deblur_tf.storage.arrays import named_variables, values_of
from deblur_tf.storage.model_folders import DEFAULT_MODEL

Picture = str | os.PathLike[str] | Image.Image | np.ndarray


class Deblurrer:
    """A trained model, ready to restore.

    >>> import numpy as np
    >>> from deblur_tf import Deblurrer
    >>> deblurrer = Deblurrer.from_pretrained("tiny")
    >>> picture = np.full((40, 60, 3), 128, np.uint8)
    >>> deblurrer.restore(picture, steps=2, n_samples=2, seed=1).shape
    (40, 60, 3)

    Args:
      model: a built restorer.
      origin: where its weights come from, for messages.
      sampling: the settings to sample with unless others are given.
      curve: curve of perception against distortion, if one was measured.
      tile: side in pixels of the tiles in which large pictures are restored; 0 for no tiles,
        "auto" to choose by picture size and available memory.
      tile_overlap: overlap of neighbouring tiles in pixels.
    """

    def __init__(
        self,
        model: Restorer,
        origin: str = "",
        sampling: SamplingSettings = DEFAULT_SAMPLING,
        curve: FidelityCurve | None = None,
        tile: int | Literal["auto"] = "auto",
        tile_overlap: int = DEFAULT_OVERLAP,
    ):
        self._smallest_tile = memory.SMALLEST_TILE
        if tile == "auto":
            self._smallest_tile = memory.smallest_tile(model, tile_overlap)
        elif tile:
            check_overlap(int(tile), tile_overlap, model.size_multiple)
        self.model = model
        self.origin = origin
        self.sampling = sampling
        self.curve = curve
        self.tile = tile
        self.tile_overlap = tile_overlap
        self._restorations: dict[tuple[Sampler, int], Restoration] = {}
        self._process = 0  # the process that has used it

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str] = DEFAULT_MODEL,
        tile: int | Literal["auto"] = "auto",
        tile_overlap: int = DEFAULT_OVERLAP,
        precision: str | None = None,
        weights: str = AVERAGED,
    ) -> Deblurrer:
        """Loads a model of the package by name, or a run or model folder.

        Args:
          name_or_path: see `saved.load_model`.
          tile, tile_overlap: see the class.
          precision: number format of the networks: "fp32"; "bf16", which changes a picture by a
            level or two of 255; "auto" for bf16 where that is faster; None: as in training.
          weights: "ema" or "raw", see `saved.load_weights`.

        Raises:
          ModelError: if it cannot be loaded.
        """
        loaded = load_model(name_or_path, precision, weights)
        return cls(*loaded, tile=tile, tile_overlap=tile_overlap)

    @property
    def precision(self) -> str:
        """ "bf16" if a network computes in bfloat16, otherwise "fp32"."""
        return precision_of(self.model)

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: all but compiled parts, which are compiled again where it arrives."""
        return self.__dict__ | {"_restorations": {}, "_process": 0}

    def __repr__(self) -> str:
        millions = self.model.count_params() / 1e6
        how = self.sampling.describe(self.model.schedule_kind)
        return f"Deblurrer({type(self.model).__name__}, {millions:.2f} M parameters, {how})"

    def fingerprint(self) -> str:
        """Checksum that tells models with different weights apart: 8 hexadecimal digits."""
        digest = 0
        for name, value in sorted(values_of(named_variables(self.model)).items()):
            digest = zlib.crc32(value.tobytes(), zlib.crc32(name.encode(), digest))
        return f"{digest:08x}"

    def settings(self, **changes: Unpack[Settings]) -> SamplingSettings:
        """The model's settings with changes.

        Raises:
          UsageError: if they are invalid, or the model has no fidelity curve.
        """
        fidelity, base = changes.pop("fidelity", None), self.sampling
        if fidelity is not None:
            if self.curve is None:
                raise UsageError(
                    "this model carries no measured curve, so fidelity cannot be chosen; "
                    "deblur-export --curve adds one"
                )
            base = self.curve.at(fidelity)
        found = base.but(**cast(Any, changes))
        found.schedule(self.model.schedule_kind)
        return found

    def tile_for(self, height: int, width: int, copies: int = 1, n_samples: int = 1) -> int:
        """The side of the tiles for pictures of this size; 0 for none."""
        if self.tile == "auto":
            return memory.choose_tile(
                self.model, height, width, copies, n_samples, smallest=self._smallest_tile
            )
        tile = int(self.tile)
        return 0 if tile >= max(height, width) else tile

    def _with(self, sampling: SamplingSettings, tile: int = 0) -> Restoration:
        """The restoration with these settings, cached so that it is compiled only once."""
        if self._process not in (0, os.getpid()):
            raise RuntimeError(
                "this Deblurrer was used before the process forked, after which TensorFlow hangs: "
                'start processes with multiprocessing.get_context("spawn")'
            )
        self._process = os.getpid()
        sampler = sampling.build_sampler()
        key = sampler, tile
        if key not in self._restorations:
            self._restorations[key] = (
                TiledRestoration(self.model, sampler, tile, self.tile_overlap)
                if tile
                else Restoration(self.model, sampler)
            )
        return self._restorations[key]

    def prepare(self, blurry: np.ndarray, seed: int = 0) -> Prepared:
        """What the model computes from an image, uint8 [H, W, 3], before sampling."""
        return self._with(self.sampling).prepare(
            image_ops.to_model_range(blurry[None]), sample_keys(seed, [0])
        )

    def samples(
        self,
        blurry: np.ndarray,
        seed: int = 0,
        on_step: Callable[[float], object] | None = None,
        **settings: Unpack[Settings],
    ) -> np.ndarray:
        """Several samples of one image; the guidance is computed once.

        Sample i depends on the image, `seed` and i alone.

        Args:
          blurry: [H, W, 3], uint8, uint16 or float in [0, 1].
          seed: any 64-bit integer.
          on_step: called with the number of steps done, which reaches n_samples * steps;
            with tiles it grows by fractions.
          settings: see `Settings`.

        Returns:
          float32 [n_samples, H, W, 3] in [-1, 1].

        Raises:
          ValueError: for an image of another type, or invalid settings.
          NonFiniteError: if the result is not finite.
          MemoryError: if memory does not suffice even for small tiles.
        """
        blurry = np.asarray(blurry)
        if blurry.ndim != 3:
            raise ValueError(f"need [H, W, 3], got {blurry.shape}")
        return self.draw(blurry[None], seed, self.settings(**settings), on_step)[:, 0]

    def draw(
        self,
        batch: np.ndarray,
        seed: int | Sequence[int],
        sampling: SamplingSettings,
        on_step: Callable[[float], object] | None = None,
        color_guard: bool = False,
        batch_size: int = 1,
    ) -> np.ndarray:
        """Like `samples`, for several images of one size and with complete settings.

        If memory runs out, fewer samples are drawn at a time, and then smaller tiles are tried.
        What is inside a frame is restored alone, and the frame stays as it is (see `frames`).

        Args:
          batch: images, [B, H, W, 3].
          seed: any 64-bit integer for all images, or one for each.
          sampling: the settings.
          on_step: see `samples`.
          color_guard: see `restore`.
          batch_size: pictures that are sampled at a time: where it exceeds B, several samples of
            each image are drawn at once. Tiled pictures are drawn one sample at a time.

        Returns:
          float32 [n_samples, B, H, W, 3], in [-1, 1] except for what the colour guard adds.
        """
        images = pictures.pixels_to_model_range(batch)
        seeds = [seed] * len(batch) if isinstance(seed, int) else list(seed)
        inside = [frames.inner(image) for image in images]
        if not any(inside):
            return self._drawn(batch, seeds, sampling, on_step, color_guard, batch_size)
        told = on_step if len(batch) == 1 else None
        return frames.put_back(
            images,
            inside,
            lambda i, window: self._drawn(
                batch[i][window][None], seeds[i : i + 1], sampling, told, color_guard, batch_size
            ),
        )

    def _drawn(
        self,
        batch: np.ndarray,
        seeds: Sequence[int],
        sampling: SamplingSettings,
        on_step: Callable[[float], object] | None,
        color_guard: bool,
        batch_size: int,
    ) -> np.ndarray:
        """`draw` without regard to frames."""
        images = pictures.pixels_to_model_range(batch)
        size, n_samples = batch.shape[1:3], sampling.n_samples
        tile = self.tile_for(*size, copies=len(batch), n_samples=n_samples)
        at_once = max(min(batch_size // len(batch), n_samples), 1)
        if tile or self.tile_for(*size, copies=len(batch) * at_once, n_samples=n_samples):
            at_once = 1
        while True:
            try:
                found = self._sampled(images, seeds, sampling, tile, on_step, at_once)
                break
            except Exception as error:
                if not memory.ran_out_of_memory(error):
                    raise
                if at_once > 1:
                    at_once //= 2
                    continue
                side = min(tile or self.model.largest_tile * 2, max(batch.shape[1:3])) // 2
                side = side // memory.TILE_STEP * memory.TILE_STEP
                if self.tile == 0 or side < self._smallest_tile:
                    raise MemoryError(
                        f"not enough memory for {batch.shape[2]}x{batch.shape[1]} pixels"
                        + ("; --tile=auto takes less" if self.tile == 0 else "")
                    ) from error
                tile = side
        if color_guard:
            for sample in found:
                for restored, blurry in zip(sample, images, strict=True):
                    restored[...] = keep_low_frequencies(restored, blurry)
        return found

    def _sampled(
        self,
        images: np.ndarray,
        seeds: Sequence[int],
        sampling: SamplingSettings,
        tile: int,
        on_step: Callable[[float], object] | None,
        at_once: int,
    ) -> np.ndarray:
        """See `draw_samples`; a tile of 0 takes the images whole."""
        schedule = sampling.schedule(self.model.schedule_kind)
        restoration = self._with(sampling, tile)
        return draw_samples(
            restoration, images, seeds, schedule, sampling.n_samples, at_once, on_step
        )

    def restore(
        self,
        image: Picture,
        seed: int = 0,
        color_guard: bool = False,
        always: bool = False,
        on_step: Callable[[float], object] | None = None,
        **settings: Unpack[Settings],
    ) -> Any:
        """A sharp picture: one sample, or the mean of several.

        If the result is no sharper, the picture is returned unchanged, see `triage.helped`.

        Args:
          image: a path, a PIL image, or an array: uint8, uint16 or float in [0, 1], [H, W] of
            gray values, or [H, W, C] or [B, H, W, C] with C 1 (gray), 3 (RGB) or 4 (RGBA).
          seed: any 64-bit integer.
          color_guard: keep the low frequencies, and so the colours, of the input.
          always: return the restored picture even if it is no sharper.
          on_step: see `samples`.
          settings: see `Settings`.

        Returns:
          A picture of the same kind and size. For a path or PIL image a PIL image, in its mode
          and with its alpha, EXIF and colour profile; one from a path is turned upright. For an
          array an array of the same type.

        Raises:
          ValueError: for an array of another shape, type or range.
          DataError: if a file cannot be read.
        """
        taken = pictures.take(image)
        sampling = self.settings(**settings)
        restored = self._restored(taken.pixels, seed, color_guard, always, sampling, on_step)
        return taken.give_back(restored)

    def _restored(
        self,
        batch: np.ndarray,
        seed: int,
        color_guard: bool,
        always: bool,
        sampling: SamplingSettings,
        on_step: Callable[[float], object] | None = None,
    ) -> np.ndarray:
        """The means of the samples: [B, H, W, 3] -> float32 of the same shape, see `draw`.

        Unless `always`, a picture whose mean is no sharper is returned unchanged.
        """
        restored = self.draw(batch, seed, sampling, on_step, color_guard).mean(axis=0)
        for i, image in enumerate(pictures.pixels_to_model_range(batch)):
            if not always and not triage.helped(
                pictures.mean_image(image[None]), pictures.mean_image(restored[i : i + 1])
            ):
                restored[i] = image
        return restored

    def restore_many(
        self,
        images: Sequence[Picture],
        seed: int = 0,
        color_guard: bool = False,
        always: bool = False,
        batch_size: int = 4,
        **settings: Unpack[Settings],
    ) -> list[Any]:
        """Restores several pictures as `restore` does, those of one size together.

        Args:
          images: pictures of any mix of kinds and sizes, also batches [B, H, W, 3].
          batch_size: pictures that are computed together.
          seed, color_guard, always, settings: see `restore`.

        Returns:
          The result of `restore` for each, in the order of `images`.
        """
        taken = [pictures.take(image) for image in images]
        sampling = self.settings(**settings)
        results: list[Any] = [None] * len(taken)

        def kind(i: int) -> tuple[Any, ...]:
            return taken[i].pixels.shape[1:], str(taken[i].pixels.dtype)

        for _, group in itertools.groupby(sorted(range(len(taken)), key=kind), key=kind):
            members = list(group)
            whole = np.concatenate([taken[i].pixels for i in members])
            parts = [
                self._restored(
                    whole[start : start + batch_size], seed, color_guard, always, sampling
                )
                for start in range(0, len(whole), batch_size)
            ]
            restored, position = np.concatenate(parts), 0
            for i in members:
                count = len(taken[i].pixels)
                results[i] = taken[i].give_back(restored[position : position + count])
                position += count
        return results
