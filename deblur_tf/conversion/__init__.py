"""Converts weights of other programs to model folders of this one."""
