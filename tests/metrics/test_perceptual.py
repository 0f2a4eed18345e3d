"""LPIPS, NIQE, FID and KID against closed forms, published values and twins."""

import functools
import hashlib
import os
import pathlib

import gin
import keras
import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import save_file
from scipy.ndimage import gaussian_filter

from deblur_tf import metrics
from deblur_tf.base.errors import CheckpointError, DataError
from deblur_tf.metrics import convert, distances, fid, inception, lpips, niqe
from deblur_tf.storage.arrays import write_npz
from tests.support.graphs import mock_graph
from tests.support.lpips_case import KEPT, literal_case, torch_arrays

WEIGHTS = pathlib.Path(os.environ.get("DEBLUR_TF_WEIGHTS", "../shared/data/metric_weights"))


def blurred(image):
    smooth = gaussian_filter(image.astype(np.float64), (1, 1, 0))
    return np.round(np.clip(smooth, 0, 255)).astype(np.uint8)


# NIQE


def test_halving_is_that_of_matlab():
    want = [0.44921875, 2.48828125, 4.5, 6.5, 8.5, 10.5, 12.51171875, 14.55078125]
    ramp = np.arange(16.0)
    np.testing.assert_allclose(niqe.half(np.tile(ramp, (4, 1)))[0], want, atol=1e-12)
    np.testing.assert_allclose(niqe.half(np.tile(ramp, (4, 1)).T)[:, 0], want, atol=1e-12)


def test_luminance_is_that_of_matlab():
    colors = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    np.testing.assert_array_equal(niqe.luminance(colors)[0], [76, 150, 29, 255])
    np.testing.assert_array_equal(niqe.luminance(colors, "y")[0], [81, 145, 41, 235])


def test_a_fit_finds_the_shape_and_scales_of_what_was_drawn():
    """Of a Gaussian: shape 2, both scales sqrt(2) sigma. Of a Laplacian: shape 1."""
    rng = np.random.default_rng(0)
    rows = np.stack([rng.normal(0, 0.5, 100_000), rng.laplace(0, 0.5, 100_000)])
    shape, left, right = niqe.aggd(rows)
    np.testing.assert_allclose(shape, [2, 1], rtol=0.03)
    np.testing.assert_allclose(left, [0.5 * np.sqrt(2), 0.5], rtol=0.03)
    np.testing.assert_allclose(right, left, rtol=0.03)


def test_the_shape_is_the_nearest_of_the_table():
    """Vectorised search against the release's argmin."""
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((5, 400)) * rng.uniform(0.1, 2, (5, 1))
    rows[rows > 0] *= 1.7
    shape, _, _ = niqe.aggd(rows)
    for row, found in zip(rows, shape, strict=True):
        left, right = (np.sqrt(np.mean(row[side] ** 2)) for side in (row < 0, row > 0))
        g = left / right
        r = np.mean(np.abs(row)) ** 2 / np.mean(row**2)
        wanted = r * (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2
        assert found == niqe._SHAPES[np.argmin((niqe._RATIOS - wanted) ** 2)]


def test_flat_pictures_have_no_niqe_and_no_warning():
    pristine = niqe.Pristine(np.zeros(36), np.eye(36))
    assert np.isnan(niqe.distance(np.full((96, 192, 3), 90, np.uint8), pristine))


def test_niqe_with_statistics_of_its_own(photos, tmp_path):
    """Made from sharp photos; a blurred one is farther from them."""
    path = convert.write_niqe(
        tmp_path, [np.rot90(photos[i], k) for i in range(len(photos)) for k in range(4)]
    )
    (metric,) = metrics.choose(["niqe"], tmp_path)
    assert not metric.reference
    assert metric.about["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    sharp = photos[0]
    assert metric.measure(blurred(sharp), sharp) > metric.measure(sharp, sharp) + 0.5
    with pytest.raises(DataError, match="sharp blocks"):
        convert.write_niqe(tmp_path, [sharp[:50, :50]])


@pytest.mark.skipif(not (WEIGHTS / niqe.FILE.name).is_file(), reason="no published statistics")
@pytest.mark.parametrize(
    ("color", "snap", "want"),
    [
        ("y", 0.0, (3.10, 5.48)),
        ("y", 1e-9, (3.065, 5.426)),
        ("gray", 1e-9, (3.065, 5.353)),
    ],
)
def test_niqe_with_the_published_statistics(photos, color, snap, want, monkeypatch):
    monkeypatch.setattr(niqe, "SNAP", snap)
    with gin.unlock_config():
        gin.bind_parameter("niqe.color", color)
    (metric,) = metrics.choose(["niqe"], WEIGHTS)
    gin.clear_config()
    assert metric.about["color"] == color
    sharp = photos[0]  # astronaut
    found = [metric.measure(image, sharp) for image in (sharp, blurred(sharp))]
    assert found == pytest.approx(want, abs=0.005)


# Distances of sets


def rows(x, parts=7):
    return np.array_split(x, parts)


def test_frechet_distance_closed_forms():
    eight = np.arange(1.0, 9.0)
    a, b = np.diag(eight), np.diag(eight[::-1])
    ones = np.ones(8)
    assert distances.frechet(ones, a, ones, a) == pytest.approx(0, abs=1e-9)
    assert distances.frechet(0 * ones, a, ones, b) == pytest.approx(18.860555385444016, rel=1e-12)


def test_fid_and_kid_of_the_vectors_of_tensorflow_gan():
    np.random.seed(0)  # noqa: NPY002
    first, second = (np.random.randn(512, 256).astype("float32") for _ in range(2))  # noqa: NPY002
    assert distances.fid(rows(first), rows(second)) == pytest.approx(65.7427236504355, rel=1e-6)
    moved = (second * 1.1 + 0.05).astype("float32")
    assert distances.fid(rows(first), rows(moved)) == pytest.approx(75.45570390872592, rel=1e-6)
    want = 0.008388614796732696
    assert distances.kid_full(rows(first), rows(moved)) == pytest.approx(want, rel=1e-5)
    one_block = distances.kid_blocks(rows(first), rows(moved), size=512)
    assert one_block == pytest.approx(want, rel=1e-5)


def test_moments_are_those_of_numpy_and_keep_their_digits():
    x = np.random.default_rng(0).standard_normal((50, 6)) + 1e6
    mean, covariance = distances.moments(rows(x))
    np.testing.assert_allclose(mean, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(x, rowvar=False), atol=1e-8)
    with pytest.raises(ValueError, match="needs two"):
        distances.moments([x[:1]])


@pytest.mark.parametrize("estimator", ["kid_full", "kid_blocks", "kid_subsets"])
def test_kid_of_point_masses(estimator):
    ones, zeros = np.ones((40, 16)), np.zeros((40, 16))
    assert getattr(distances, estimator)(rows(ones), rows(zeros)) == pytest.approx(7, abs=1e-12)


def test_kid_does_not_depend_on_order_sides_or_chunks(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((60, 16)), rng.standard_normal((45, 16)) + 0.3
    whole = distances.kid_full([x], [y])
    monkeypatch.setattr(distances, "CHUNK", 8)
    assert distances.kid_full(rows(x), rows(rng.permutation(y))) == pytest.approx(whole, rel=1e-10)
    assert distances.kid_full(rows(y), rows(x)) == pytest.approx(whole, rel=1e-10)
    subsets = distances.kid_subsets(rows(x), rows(y), size=30, subsets=200)
    assert subsets == pytest.approx(whole, rel=0.15)


def test_kid_of_one_distribution_is_zero_on_average():
    rng = np.random.default_rng(0)
    draws = [
        distances.kid_full([rng.standard_normal((200, 16))], [rng.standard_normal((200, 16))])
        for _ in range(60)
    ]
    assert abs(np.mean(draws)) < 4 * 0.0125 / np.sqrt(60)


# Inception


@functools.cache
def random_inception():
    """Weights under which activations keep their size through the network."""
    rng = np.random.default_rng(0)
    found = {}
    for name, shape in inception.shapes().items():
        scale = 0.01 if len(shape) == 1 else np.sqrt(2 / np.prod(shape[:3]))
        found[name] = (scale * rng.standard_normal(shape)).astype("float32")
    return found


def test_the_layers_have_the_published_shapes():
    shapes = inception.shapes()
    assert len(shapes) == 2 * 94
    assert shapes["Conv2d_1a_3x3/kernel"] == (3, 3, 3, 32)
    assert shapes["Mixed_5b.branch5x5_2/kernel"] == (5, 5, 48, 64)
    assert shapes["Mixed_6c.branch7x7_2/kernel"] == (1, 7, 160, 160)
    assert shapes["Mixed_7c.branch3x3dbl_3b/kernel"] == (3, 1, 384, 384)
    # Keras has beta, mean and variance where here is a bias.
    published = keras.applications.InceptionV3(include_top=False, weights=None)
    biases = sum(shape[0] for shape in shapes.values() if len(shape) == 1)
    ours = sum(int(np.prod(shape)) for shape in shapes.values())
    assert ours == published.count_params() - 2 * biases


def test_features_are_those_of_keras_before_the_last_block():
    """Which is where the network of 2015 differs: it takes maxima."""
    arrays = random_inception()
    seen = []

    def conv(name, x, *args, **options):
        if name == "Mixed_7c.branch1x1":
            seen.append(x)
        return inception._convolution(arrays, name, x, *args, **options)

    x = np.random.default_rng(1).uniform(-1, 1, (1, 139, 139, 3)).astype("float32")
    inception.network(x, conv)
    published = keras.applications.InceptionV3(
        include_top=False, weights=None, input_shape=(139, 139, 3)
    )
    # Keras builds branches in another order: a convolution is known by its place in ours.
    order = {
        "A": ["branch1x1", "branch5x5_1", "branch5x5_2", "branch3x3dbl_1"]
        + ["branch3x3dbl_2", "branch3x3dbl_3", "branch_pool"],
        "B": ["branch3x3", "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"],
        "C": ["branch1x1", "branch7x7_1", "branch7x7_2", "branch7x7_3", "branch7x7dbl_1"]
        + [f"branch7x7dbl_{i}" for i in (2, 3, 4, 5)]
        + ["branch_pool"],
        "D": ["branch3x3_1", "branch3x3_2"] + [f"branch7x7x3_{i}" for i in (1, 2, 3, 4)],
        "E": ["branch1x1", "branch3x3_1", "branch3x3_2a", "branch3x3_2b", "branch3x3dbl_1"]
        + ["branch3x3dbl_2", "branch3x3dbl_3a", "branch3x3dbl_3b", "branch_pool"],
    }
    kinds = {"5b": "A", "5c": "A", "5d": "A", "6a": "B", "6b": "C", "6c": "C", "6d": "C"}
    kinds |= {"6e": "C", "7a": "D", "7b": "E"}
    names = [f"Conv2d_{n}" for n in ("1a_3x3", "2a_3x3", "2b_3x3", "3b_1x1", "4a_3x3")]
    names += [f"Mixed_{block}.{part}" for block, kind in kinds.items() for part in order[kind]]
    layers = [la for la in published.layers if isinstance(la, keras.layers.Conv2D)]
    layers.sort(key=lambda la: int(la.name.split("_")[1]) if "_" in la.name else 0)
    norms = [la for la in published.layers if isinstance(la, keras.layers.BatchNormalization)]
    norms.sort(key=lambda la: int(la.name.split("_")[2]) if la.name.count("_") == 2 else 0)
    for name, layer, norm in zip(names, layers, norms, strict=False):
        layer.set_weights([arrays[f"{name}/kernel"]])
        bias = arrays[f"{name}/bias"]
        # beta as the bias; variance so that variance + epsilon is one.
        norm.set_weights([bias, 0 * bias, 0 * bias + 1 - inception.EPSILON])
    want = keras.Model(published.inputs, published.get_layer("mixed9").output)(x)
    scale = np.abs(want).max()
    np.testing.assert_allclose(seen[0] / scale, want / scale, atol=1e-4)


@pytest.mark.parametrize("size", [(240, 256), (17, 400)])
@pytest.mark.parametrize("legacy", [True, False])
def test_resizing_is_that_of_tensorflow(size, legacy):
    images = np.random.default_rng(0).uniform(0, 255, (2, *size, 3)).astype("float32")
    want = tf.raw_ops.ResizeBilinear(images=images, size=[299, 299], half_pixel_centers=not legacy)
    np.testing.assert_allclose(inception.resized(images, legacy), want, atol=5e-3)


def test_a_frozen_graph_runs_as_it_did_in_a_session(tmp_path):
    """Bit for bit, and several pictures at once."""
    graph = mock_graph(tmp_path / "classify_image_graph_def.pb")
    images = np.random.default_rng(1).integers(0, 256, (3, 240, 256, 3), np.uint8)
    found = inception.graph_extractor(tmp_path / "classify_image_graph_def.pb")(images)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.import_graph_def(graph, name="")
        want = [session.run("pool_3:0", {"DecodeJpeg:0": image}).reshape(-1) for image in images]
    np.testing.assert_array_equal(found, want)
    (metric,) = metrics.choose(["fid"], tmp_path)
    assert metric.features.of(images[0]).shape == (1, 8)
    assert metric.about["file"] == "classify_image_graph_def.pb"


@pytest.mark.slow
def test_inception_is_converted_and_measures(tmp_path):
    """Normalisations go into the convolutions; two equal sets have distance zero."""
    arrays, rng = {}, np.random.default_rng(0)
    for name, shape in inception.shapes().items():
        part = name.split("/")[0]
        if len(shape) == 4:
            kernel = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:3]))
            arrays[f"{part}.conv.weight"] = kernel.transpose(3, 2, 0, 1)
        else:
            for key, value in (("weight", 2.0), ("bias", 0.1), ("running_mean", 0.3)):
                arrays[f"{part}.bn.{key}"] = np.full(shape, value)
            arrays[f"{part}.bn.running_var"] = np.full(shape, 4.0 - inception.EPSILON)
    arrays["fc.weight"] = np.zeros((3, 3))
    source = tmp_path / "inception.safetensors"
    save_file({k: np.ascontiguousarray(v, "float32") for k, v in arrays.items()}, source)
    path = convert.write_inception(tmp_path, source)
    with np.load(path) as made:
        np.testing.assert_allclose(made["Conv2d_1a_3x3/bias"], 0.1 - 0.3, rtol=1e-5)
        want = arrays["Conv2d_1a_3x3.conv.weight"].transpose(2, 3, 1, 0)
        np.testing.assert_allclose(made["Conv2d_1a_3x3/kernel"], want, rtol=1e-5)
    found = metrics.choose(["fid", "kid"], tmp_path)
    image = rng.integers(0, 256, (240, 512, 3), np.uint8)
    features = found[0].features.of(image)
    assert features.shape == (2, 2048)
    assert found[0].distance([features] * 2, [features] * 2) == pytest.approx(0, abs=1e-6)
    del arrays["Mixed_6a.branch3x3.conv.weight"]
    save_file({k: np.ascontiguousarray(v, "float32") for k, v in arrays.items()}, source)
    with pytest.raises(DataError, match=r"has no Mixed_6a.branch3x3.conv.weight"):
        convert.write_inception(tmp_path, source)


# LPIPS


def made(net, folder):
    trunk, heads = torch_arrays(net)
    for name, arrays in (("trunk", trunk), ("heads", heads)):
        save_file(arrays, folder / f"{name}.safetensors")
    convert.write_lpips(folder, net, folder / "trunk.safetensors", folder / "heads.safetensors")
    (metric,) = metrics.choose([f"lpips_{net}"], folder)
    return metric


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_lpips_of_random_trunks_is_that_of_the_package(net, tmp_path):
    """Literals of tests/support/make_lpips_literals.py, which runs `lpips` in PyTorch."""
    metric = made(net, tmp_path)
    a, b = literal_case()
    assert metric.measure(a, b) == pytest.approx(KEPT[net], rel=1e-4)
    assert metric.measure(a, a) == 0.0
    small = np.zeros((metric.min_side, metric.min_side, 3), np.uint8)
    assert np.isfinite(metric.measure(small, small + 9))


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_literals_are_what_the_package_measures(net):
    """Where PyTorch and lpips are installed."""
    pytest.importorskip("lpips")
    from tests.support.make_lpips_literals import measure

    assert measure(net) == pytest.approx(KEPT[net], rel=1e-6)


def test_foreign_and_hostile_files_are_refused(tmp_path):
    (tmp_path / "alex.pth").write_bytes(b"\x80\x04")
    with pytest.raises(DataError, match=r"weights_only=True.*alex\.safetensors"):
        convert.read_tensors(tmp_path / "alex.pth")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00\x00")
    with pytest.raises(DataError, match="cannot be read"):
        convert.read_tensors(tmp_path / "cut.safetensors")
    with pytest.raises(DataError, match="no such file"):
        convert.read_tensors(tmp_path / "none.npz")
    np.savez(tmp_path / "object.npz", a=np.array([{}], dtype=object))
    with pytest.raises(CheckpointError, match="cannot be read"):
        convert.read_tensors(tmp_path / "object.npz")
    write_npz(tmp_path / lpips.FILES["alex"].name, {"0/0/kernel": np.zeros((2, 2, 3, 64))})
    with pytest.raises(CheckpointError, match=r"0/0/kernel has shape \(2, 2, 3, 64\); needed is"):
        metrics.choose(["lpips_alex"], tmp_path)
    trunk, heads = torch_arrays("alex")
    save_file(trunk | {"more": np.zeros(3, "float32")}, tmp_path / "trunk.safetensors")
    save_file(heads, tmp_path / "heads.safetensors")
    with pytest.raises(DataError, match="has more and 0 more; not such a file"):
        convert.write_lpips(
            tmp_path, "alex", tmp_path / "trunk.safetensors", tmp_path / "heads.safetensors"
        )


def test_kid_options_come_from_gin(tmp_path):
    mock_graph(tmp_path / fid.FILES[1].name)
    with gin.unlock_config():
        gin.parse_config("kid.estimator = 'subsets'\nkid.subsets = 3\nkid.size = 5")
    try:
        (metric,) = metrics.choose(["kid"], tmp_path)
        assert (metric.about["estimator"], metric.about["subsets"]) == ("subsets", 3)
    finally:
        gin.clear_config()
