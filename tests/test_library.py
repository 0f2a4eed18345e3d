"""The library as its pages show it, and as the notebook ran."""

import json
import re

import pytest

import deblur_tf
from tests.support import ROOT

NOTEBOOK = ROOT / "examples" / "first_steps.ipynb"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page):
    return re.findall(r"```python\n(.*?)```\n", page.read_text(), re.DOTALL)


def test_the_notebook_is_the_page():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert code == [block.strip() for block in blocks(ROOT / "docs" / "library.md")]
    assert all(
        cell["outputs"]
        for cell in cells
        if cell["cell_type"] == "code" and "print(" in "".join(cell["source"])
    )


@pytest.mark.slow
def test_the_notebook_runs():
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder = {"metadata": {"path": str(ROOT)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=folder).execute()
    printed = "".join(o.get("text", "") for c in notebook.cells for o in c.get("outputs", []))
    mean, deviation = map(float, printed.splitlines()[-1].split())
    assert mean == pytest.approx(0.3, abs=0.05)
    assert deviation == pytest.approx(0.5, abs=0.08)


def test_pages_use_public_names_and_those_are_there():
    """What a reader types comes from `deblur_tf` itself."""
    for page in PAGES:
        for block in blocks(page):
            assert not re.findall(r"^from deblur_tf\.\S+ import", block, re.MULTILINE), page
            for names in re.findall(r"^from deblur_tf import (.*)$", block, re.MULTILINE):
                assert set(names.split(", ")) <= set(deblur_tf.__all__), page
    for name in deblur_tf.__all__:
        assert getattr(deblur_tf, name) is not None


def test_a_guidance_network_that_nothing_uses_is_refused():
    unet = deblur_tf.UNet(4, (1, 2))
    with pytest.raises(ValueError, match="nothing uses it"):
        deblur_tf.GuidedDiffusion(unet, deblur_tf.MultiscaleGuidance(2, scales=(1,)))


def test_a_deblurrer_says_what_it_is():
    deblurrer = deblur_tf.Deblurrer.from_pretrained()
    assert repr(deblurrer).startswith(
        "Deblurrer(DeconvolvedDiffusion, 4.76 M parameters, 1 step(s)"
    )
