"""Foundations: errors, types, files, the two backends and the registry of configurables."""
