"""Restoring photographs, and exporting the sampler for serving."""
