"""Photographs, synthetic blur, and batches of blurry/sharp pairs."""
