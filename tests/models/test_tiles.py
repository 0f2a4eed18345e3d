"""Tiles: a partition of unity, and pictures that do not show them."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deblur_tf.base.errors import UsageError
from deblur_tf.diffusion import samplers
from deblur_tf.diffusion.sampling import SamplingSettings
from deblur_tf.diffusion.schedules import inference_schedule
from deblur_tf.inference import memory
from deblur_tf.inference.deblurrer import Deblurrer
from deblur_tf.models.dvsr import DvSR
from deblur_tf.models.regression import Regression
from deblur_tf.models.restoration import Restoration, sample_keys
from deblur_tf.models.tiles import Grid, TiledRestoration, along
from deblur_tf.networks.unet import UNet
from deblur_tf.numerics import noise
from tests.support.helpers import randomize, slow_but


@given(st.integers(1, 40), st.integers(1, 8), st.floats(0, 0.49), st.sampled_from([1, 4, 8]))
def test_weights_of_an_axis_add_up_to_one(size, side, share, multiple):
    size, side, overlap = size * multiple, side * multiple, int(share * side) * multiple
    tiles = along(size, side, overlap, multiple)
    total = np.zeros(size)
    ends = [0]
    for start, weight in tiles:
        assert start % multiple == len(weight) % multiple == 0
        assert 0 <= start <= size - len(weight)
        assert len(weight) <= side
        assert weight.min() >= 0
        assert start <= ends[-1] - overlap or start == 0
        ends.append(start + len(weight))
        total[start : start + len(weight)] += weight
    assert ends[-1] == size
    np.testing.assert_allclose(total, 1.0, atol=1e-5)
    assert tiles[0][1][0] == pytest.approx(1.0)  # no fall towards the image's own edges
    assert tiles[-1][1][-1] == pytest.approx(1.0)


def test_blending_what_agrees_changes_nothing():
    grid = Grid(80, 56, side=32, overlap=8, multiple=8)
    image = np.random.default_rng(0).random((2, 80, 56, 3), np.float32)
    half = image[:, ::2, ::2]

    def parts(tile):
        return {"whole": tile.of(image, 80), "half": tile.of(half, 80)}

    found = grid.blend(parts)
    np.testing.assert_allclose(found["whole"], image, atol=1e-6)
    np.testing.assert_allclose(found["half"], half, atol=1e-6)
    assert len(grid) == 3 * 2


def test_an_overlap_of_half_a_tile_is_refused(model):
    with pytest.raises(UsageError, match="cannot overlap by 32"):
        Grid(100, 100, side=64, overlap=32)
    with pytest.raises(UsageError, match="cannot overlap"):
        Deblurrer(model, tile=64, tile_overlap=40)
    with pytest.raises(UsageError, match="cannot overlap"):
        Deblurrer(model, tile=64, tile_overlap=31)  # 32 where sizes are multiples of 8
    with pytest.raises(UsageError, match="cannot overlap"):
        Deblurrer(model, tile="auto", tile_overlap=500)
    with pytest.raises(UsageError, match="cannot overlap"):
        Deblurrer(model, tile="auto", tile_overlap=64)


def test_the_smallest_tile_has_room_for_an_overlap_that_sizes_make_larger(monkeypatch):
    """DeblurDiff on Stable Diffusion's networks: sizes are multiples of 64, so overlaps too."""
    coarse = SimpleNamespace(size_multiple=64, largest_tile=512, floats_per_pixel=0.0)
    tried = []

    def sampled(self, images, seeds, sampling, tile, on_step, at_once):
        tried.append(tile)
        raise MemoryError

    monkeypatch.setattr(Deblurrer, "_sampled", sampled)
    monkeypatch.setattr(Deblurrer, "settings", lambda self: SamplingSettings(1))
    monkeypatch.setattr(memory, "available_bytes", lambda: 1 << 40)
    with pytest.raises(MemoryError, match="not enough memory"):
        Deblurrer(coarse).samples(np.zeros((1600, 1600, 3), np.uint8))
    assert tried == [512, 256]
    for side in (*tried, memory.smallest_tile(coarse, 32)):
        assert len(Grid(1600, 1600, side, 32, 64)) > 1
    assert [memory.smallest_tile(coarse, n) for n in (0, 1, 32, 63)] == [128, 192, 192, 192]
    monkeypatch.setattr(memory, "available_bytes", lambda: 1)
    assert Deblurrer(coarse).tile_for(1600, 1600) == 192


def dvsr():
    shallow = {"num_res_blocks": 1, "num_middle_blocks": 1}
    predictor = UNet(8, (1, 2), use_noise_level=False, **shallow)
    return DvSR(predictor, UNet(4, (1, 2), **shallow))


def regression():
    return Regression(UNet(8, (1, 2), use_noise_level=False, num_res_blocks=1, num_middle_blocks=1))


@pytest.fixture(scope="module", params=["dvsr", "regression"])
def any_model(request):
    made = dvsr() if request.param == "dvsr" else regression()
    made.build()
    return randomize(made)


@pytest.mark.parametrize("name", slow_but(["ddpm", "heun", "dpmpp_2m_sde"], "ddpm"))
def test_tiles_give_the_picture_of_the_whole(name, any_model):
    """To some of 255, and where tiles meet no worse than elsewhere by much."""
    rng = np.random.default_rng(1)
    small = rng.random((1, 24, 20, 3), np.float32)
    blurry = np.kron(2 * small - 1, np.ones((1, 7, 7, 1), np.float32))[:, :150, :134]
    keys, schedule = sample_keys(3, [0]), inference_schedule(3)
    whole = np.array(Restoration(any_model, samplers.named(name))(blurry, keys, schedule))
    tiled = TiledRestoration(any_model, samplers.named(name), side=96, overlap=32)
    found = np.array(tiled(blurry, keys, schedule))
    error = 127.5 * np.abs(np.clip(found, -1, 1) - np.clip(whole, -1, 1)).max(axis=-1)[0]
    assert found.shape == whole.shape
    assert np.sqrt(np.mean(error**2)) < 1.0
    seams = np.zeros(error.shape, bool)
    seams[64 - 4 : 96 + 4], seams[:, 40 - 4 : 96 + 4] = True, True
    assert np.sqrt(np.mean(error[seams] ** 2)) < 1.5


def test_one_tile_is_the_whole(micro):
    blurry = np.random.default_rng(2).uniform(-1, 1, (2, 30, 41, 3)).astype("float32")
    keys, schedule = sample_keys(3, [0, 1]), inference_schedule(2)
    whole = np.array(Restoration(micro)(blurry, keys, schedule))
    np.testing.assert_allclose(
        np.array(TiledRestoration(micro, side=64, overlap=8)(blurry, keys, schedule)),
        whole,
        atol=2e-5,
    )


def test_samplers_that_ask_for_the_noise_get_it(micro):
    blurry = np.random.default_rng(2).uniform(-1, 1, (1, 48, 40, 3)).astype("float32")
    noisy = np.random.default_rng(3).standard_normal(blurry.shape).astype("float32")
    keys, level = sample_keys(3, [0]), np.array([0.4], np.float32)
    found = []
    for restoration in (Restoration(micro), TiledRestoration(micro, side=48, overlap=8)):
        condition = restoration.prepare(blurry, keys).condition
        found.append(restoration._denoise(noisy, level, (condition, keys)))
    for whole, tiled in zip(*found, strict=True):
        np.testing.assert_allclose(tiled, np.array(whole), atol=2e-5)
    assert np.abs(np.array(found[0].noise) - np.array(found[0].target)).max() > 0.1


def test_progress_grows_by_tiles(micro):
    deblurrer = Deblurrer(micro, tile=64, tile_overlap=8)
    picture = np.random.default_rng(0).integers(0, 256, (100, 60, 3), dtype=np.uint8)
    done = []
    deblurrer.samples(picture, steps=2, n_samples=2, on_step=done.append)
    assert done == sorted(done)
    assert done[-1] == 4
    assert {0.5, 1.0, 2.5, 3.5} <= set(done)


def test_noise_of_a_part_is_part_of_the_noise():
    keys = noise.fold_in(noise.make_key(1)[None], np.arange(2))
    whole = np.array(noise.normal(keys, 40, 30, 3))
    part = np.array(noise.normal(keys, 10, 7, 3, (16, 8)))
    np.testing.assert_allclose(part, whole[:, 16:26, 8:15], atol=1e-6)


def test_memory_that_runs_out_makes_tiles_smaller(micro, monkeypatch):
    deblurrer = Deblurrer(micro, tile="auto")
    tried = []
    sampled = Deblurrer._sampled

    def short_of_memory(self, images, seeds, sampling, tile, on_step, at_once):
        tried.append(tile)
        if tile not in (128,):
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes")
        return sampled(self, images, seeds, sampling, tile, on_step, at_once)

    monkeypatch.setattr(Deblurrer, "_sampled", short_of_memory)
    picture = np.zeros((300, 280, 3), np.uint8)
    assert deblurrer.samples(picture, steps=1).shape == (1, 300, 280, 3)
    assert tried == [0, 128]
    with pytest.raises(MemoryError, match="280x300 pixels; --tile=auto takes less"):
        Deblurrer(micro, tile=0).samples(picture, steps=1)
    monkeypatch.setattr(Deblurrer, "_sampled", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        deblurrer.samples(picture, steps=1)


def test_memory_that_runs_out_draws_fewer_samples_at_a_time(micro, monkeypatch):
    tried = []
    sampled = Deblurrer._sampled

    def short_of_memory(self, images, seeds, sampling, tile, on_step, at_once):
        tried.append((tile, at_once))
        if at_once > 1:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes")
        return sampled(self, images, seeds, sampling, tile, on_step, at_once)

    monkeypatch.setattr(Deblurrer, "_sampled", short_of_memory)
    deblurrer = Deblurrer(micro)
    settings = deblurrer.settings(steps=1, n_samples=4)
    picture = np.zeros((1, 24, 24, 3), np.uint8)
    assert deblurrer.draw(picture, 0, settings, batch_size=4).shape == (4, 1, 24, 24, 3)
    assert tried == [(0, 4), (0, 2), (0, 1)]


def test_tiles_fit_into_memory(model):
    each = memory.bytes_per_pixel(model)
    assert memory.choose_tile(model, 1000, 1000, free=int(3e6 * each)) == 0
    assert memory.choose_tile(model, 2000, 2000, free=1 << 40) == model.largest_tile
    side = memory.choose_tile(model, 4000, 6000, free=4 << 30)
    assert memory.SMALLEST_TILE <= side <= model.largest_tile
    assert side % 64 == 0
    assert memory.needed_bytes(model, 4000, 6000, side) < 0.75 * (4 << 30)
    assert memory.choose_tile(model, 4000, 6000, free=1) == memory.SMALLEST_TILE
    assert memory.available_bytes() > 1 << 20


@pytest.mark.slow
def test_mixed_sizes_do_not_change_a_picture(micro):
    """One graph serves all sizes, so what came before leaves no trace, to the last bit."""
    rng = np.random.default_rng(0)
    pictures = [
        rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((48, 33), (17, 64), (48, 33))
    ]
    together = Deblurrer(micro)
    for picture in pictures:
        first = together.samples(picture, steps=3, seed=2)
        alone = Deblurrer(micro).samples(picture, steps=3, seed=2)
        np.testing.assert_array_equal(first, alone)
