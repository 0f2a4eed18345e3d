"""The house keeps its shape: imports run one way, modules stay small, classes are covered."""

import ast
import importlib

import keras
import pytest

from deblur_tf import config
from deblur_tf.models.deblurdiff import Autoencoder
from deblur_tf.networks import injections
from tests.support import ROOT as CHECKOUT
from tests.support.conditional_models import MODELS, aligned
from tests.support.latent_models import prior as latent_prior
from tests.support.layer_cases import CASES
from tests.support.models import latent_model, latent_parts

ROOT = CHECKOUT / "deblur_tf"

# A module imports only from floors below its own. Within a floor, from any.
FLOORS = [
    ["base"],
    ["storage", "numerics"],
    ["diffusion"],
    ["networks"],
    ["models"],
    ["image_files"],
    ["data"],
    ["metrics"],
    ["inference", "serving", "conversion"],
    ["evaluation"],
    ["study"],
    ["training"],
    ["names"],
    ["config"],
    ["reproduction"],
    ["bin"],
]

MODULES = sorted(p.relative_to(ROOT) for p in ROOT.rglob("*.py"))


def floor(part):
    return next(i for i, names in enumerate(FLOORS) if part in names)


def part(path):
    return path.parts[0].removesuffix(".py")


def imported(path):
    """Parts of the package that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("deblur_tf"):
            names = node.module.split(".")[1:]
            yield from [names[0]] if names else [alias.name for alias in node.names]


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_run_one_way(path):
    if path.name == "__init__.py" and len(path.parts) == 1:
        return
    for other in imported(path):
        if other not in ("datasets", "gin_configs", "__version__"):
            assert floor(other) <= floor(part(path)), f"{path} imports deblur_tf.{other}"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_modules_and_functions_are_small(path):
    text = (ROOT / path).read_text()
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 90, f"{path}: {node.name}"


def test_models_know_no_loss_and_samplers_no_model():
    for path in MODULES:
        names = set(imported(path))
        if part(path) in ("networks", "models"):
            assert not names & {"training", "evaluation"}, path
            assert "losses" not in (ROOT / path).read_text(), path
        if part(path) == "diffusion":
            assert not names & {"networks", "models"}, path


def registered():
    """Every class that model.json can name."""
    config.load(["smoke.gin"])  # imports all
    importlib.import_module("deblur_tf.models.saved")
    found = keras.saving.get_custom_objects()
    return {
        name: cls
        for name, cls in found.items()
        if name.startswith("deblur_tf>") and cls.__module__.startswith("deblur_tf")
    }


def covered():
    """Classes that the conformance tests of layers and models make."""
    made = [make() for make, *_ in CASES.values()]
    made += [make() for make in MODELS.values()]
    made += [aligned(), latent_prior(), Autoencoder(latent_parts()[0])]
    made += [latent_model(kind) for kind in ("kernels", "direct", "once", "control")]
    made += [injections.make(n, 4, "float32") for n in ("add", "concat", "adagn")]
    parts = set()
    for layer in made:
        parts |= {type(x) for x in layer._flatten_layers()}
    return parts


def test_every_registered_layer_and_model_is_in_a_conformance_test():
    layers = {c for c in registered().values() if issubclass(c, keras.layers.Layer)}
    assert layers - covered() == set()
    assert len(layers) > 15


@pytest.mark.parametrize("name", ["UNet", "GuidedDiffusion", "DvSR", "Regression"])
def test_a_configuration_has_every_argument(name):
    """A default that changes later must not change a stored model."""
    cls = registered()[f"deblur_tf>{name}"]
    made = {type(x): x for m in MODELS.values() for x in m()._flatten_layers()}
    arguments = set(cls.__init__.__code__.co_varnames[1 : cls.__init__.__code__.co_argcount])
    assert arguments <= set(made[cls].get_config())


TESTS = sorted((CHECKOUT / "tests").rglob("*.py"))


def test_tests_lie_in_the_rooms_that_they_test():
    """A folder of tests for each room, and no test module that imports another."""
    rooms = {p.name for p in ROOT.iterdir() if p.is_dir() and (p / "__init__.py").is_file()}
    there = {p.parent.name for p in TESTS if p.name.startswith("test_")}
    # What reads another's files has its test there; `base` is under all of them.
    assert there - {"tests", "datasets", "gin_configs"} <= rooms
    assert rooms - there <= {"base"}
    for path in TESTS:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests"):
                names = [node.module.split(".")[-1], *(alias.name for alias in node.names)]
                assert not [n for n in names if n.startswith("test_")], path
