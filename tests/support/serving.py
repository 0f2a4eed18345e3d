"""What the tests of serving share."""

import re

import numpy as np

from tests.support import ROOT

DOCS = ROOT / "docs" / "serving.md"
MAX_PIXELS = 5000


def blocks(heading):
    """The code of a section of docs/serving.md."""
    section = DOCS.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def picture(height=21, width=18, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
