"""What shipped gin files include and bind."""

import functools
import json
import re

from deblur_tf import config
from tests.support import DATA

PINS = json.loads((DATA / "gin_pins.json").read_text())


@functools.cache
def read(name):
    return config.find_gin_file(name).read_text()


@functools.cache
def included(name):
    """A file's own includes, and those of its includes."""
    own = re.findall(r'^include "(.+)"', read(name), re.MULTILINE)
    return own + [deep for part in own for deep in included(part)]


def bound(name):
    """Names of what a file binds itself."""
    return set(re.findall(r"^([\w./]+) = ", read(name), re.MULTILINE))


def knob(override):
    return override.split(" =")[0]


@functools.cache
def knobs(name):
    """The macros of a file, and parameters that are always there."""
    names = {key for part in [name, *included(name)] for key in bound(part)}
    return names | {"Recipe.accumulate"}
