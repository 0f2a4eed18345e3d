"""What several test modules share: small models, cases, and programs run in processes."""

import pathlib

# Literals and stored pictures.
DATA = pathlib.Path(__file__).parent / "data"
# The checkout.
ROOT = pathlib.Path(__file__).parent.parent.parent
