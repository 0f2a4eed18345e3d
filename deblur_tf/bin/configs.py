r"""Lists the gin files of the package, and shows what each changes.

  deblur-configs list
  deblur-configs diff papers/icdpm/table9/d.gin papers/icdpm/table9/c.gin

diff compares two files: lines that only the second has begin with +, lines that only
the first has with -.
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


def difference(base: str, name: str) -> list[str]:
    """The bindings in which two files differ, as "+ A = 1" and "- A = 2"."""
    from deblur_tf import config
    from deblur_tf.base import bindings

    texts = []
    for file in (base, name):
        config.load([file])
        lines = bindings.all_bindings().replace("\\\n", "").splitlines()
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
    if command == "diff" and len(names) == 2:
        print("\n".join(difference(*names)) or "no difference")
        return common.OK
    raise common.UsageError("which command? list, or diff FILE FILE; see --help")


def entry() -> None:
    common.run(main, __doc__, max_arguments=3)


if __name__ == "__main__":
    entry()
