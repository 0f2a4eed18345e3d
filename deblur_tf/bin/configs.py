r"""Lists the gin files of the package, and shows what each changes.

  deblur-configs list
  deblur-configs diff icdpm/table9/c.gin
  deblur-configs diff icdpm/table9/c.gin icdpm/table9/d.gin

diff compares with the first file that the given one includes, or with a second
file: lines that only the one has begin with +, lines that only the other has with -.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from deblur_tf.bin import common


def header(name: str) -> str:
    """The comment at the top of a gin file, in one line."""
    from deblur_tf import config

    lines = config.find_gin_file(name).read_text(encoding="utf-8").splitlines()
    comment = []
    for line in lines:
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# "))
    return " ".join(comment)


def first_include(name: str) -> str:
    """The first file that a gin file includes.

    Raises:
      UsageError: if there is none.
    """
    from deblur_tf import config

    text = config.find_gin_file(name).read_text(encoding="utf-8")
    found = re.search(r'^include "(.+)"', text, re.MULTILINE)
    if found is None:
        raise common.UsageError(f"{name} includes no file; name a second one to compare with")
    return found.group(1)


def difference(name: str, base: str) -> list[str]:
    """The bindings in which two files differ, as "+ A = 1" and "- A = 2"."""
    from deblur_tf import config

    texts = []
    for file in (base, name):
        config.load([file])
        lines = config.bindings().replace("\\\n", "").splitlines()
        texts.append(sorted(re.sub(r"\s+", " ", x) for x in lines if x and not x.startswith("#")))
    return [line for line in difflib.ndiff(*texts) if line[0] in "+-"]


def main(argv: Sequence[str]) -> int:
    from deblur_tf import config

    command, *names = [*argv[1:], ""]
    names = [n for n in names if n]
    if command == "list":
        root = config.config_dir()
        for path in sorted(root.rglob("*.gin")):
            name = str(path.relative_to(root))
            print(f"{name}: {header(name)}")
        return common.OK
    if command == "diff" and names:
        base = names[1] if len(names) > 1 else first_include(names[0])
        print(f"{names[0]} against {base}")
        print("\n".join(difference(names[0], base)) or "no difference")
        return common.OK
    raise common.UsageError("which command? list, or diff FILE [FILE]; see --help")


def entry() -> None:
    common.run(main, __doc__, max_arguments=3)


if __name__ == "__main__":
    entry()
