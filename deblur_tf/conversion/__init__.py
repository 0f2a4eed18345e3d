"""Weights of other programs as model folders of this one."""
