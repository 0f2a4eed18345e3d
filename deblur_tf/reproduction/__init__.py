"""The papers' tables and figures beside what was measured here, in one report."""
