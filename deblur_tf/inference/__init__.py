"""Restoring photographs."""
