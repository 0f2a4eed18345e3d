r"""A study in which people choose the better of two pictures.

  deblur-study make --methods=ours=results/a/pictures/sample,theirs=their_results -o study/
  deblur-study serve study/
  deblur-study score study/

make: chooses --images of the pictures that all methods have (matched by name), crops and
sides, by --seed; every pair of methods is shown on each of them.
serve: a page for raters at http://127.0.0.1:8000, until Ctrl-C. Each answer is on the
disk before the next pair is shown; a rater continues by entering the same name.
score: shares of wins with Wilson's 95 % intervals, and Bradley-Terry strengths with
intervals from a bootstrap over images and raters. --answers reads the answers of another
study from a CSV file with columns rater, image, winner, loser.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from absl import flags

from deblur_tf.bin import common

_METHODS = flags.DEFINE_list("methods", [], "make: name=folder for each method.")
_OUTPUT = flags.DEFINE_string("output", None, "make: new folder for the study.", short_name="o")
_IMAGES = flags.DEFINE_integer("images", 30, "make: number of images.", 1)
_CROP = flags.DEFINE_integer("crop", 512, "make: side of the crops in pixels.", 16)
_SEED = flags.DEFINE_integer(
    "seed", 0, "make: seed of images, crops and sides; score: seed of the bootstrap."
)
_HOST = flags.DEFINE_string("host", "127.0.0.1", "serve: address to listen at.")
_PORT = flags.DEFINE_integer("port", 8000, "serve: port; 0 takes a free one.", 0, 65535)
_ANSWERS = flags.DEFINE_string("answers", None, "score: CSV file in place of a study.")
_DRAWS = flags.DEFINE_integer("draws", 1000, "score: draws of the bootstrap.", 0)


def _make() -> None:
    from deblur_tf.study import design

    if not _OUTPUT.value:
        raise common.UsageError("-o/--output is missing")
    folders: dict[str, str] = {}
    for part in _METHODS.value:
        name, equals, folder = part.partition("=")
        if not (name and equals and folder) or name in folders:
            raise common.UsageError(f"--methods: {part!r} is not name=folder, or is there twice")
        folders[name] = folder
    common.make_folder(_OUTPUT.value, alone=True)
    study = design.make(folders, _OUTPUT.value, _IMAGES.value, _CROP.value, _SEED.value)
    print(f"{_OUTPUT.value}: {len(study.comparisons)} comparisons a rater")


def _serve(folder: str) -> None:
    from deblur_tf.study.server import Server

    try:
        server = Server(folder, _HOST.value, _PORT.value)
    except OSError as error:
        raise common.UsageError(
            f"{_HOST.value}:{_PORT.value}: {error.strerror or error}; another --port may be free, "
            "0 takes one that is"
        ) from error
    with server:
        print(f"http://{_HOST.value}:{server.server_port}/ (Ctrl-C ends)", flush=True)
        server.serve_forever()


def _score(folder: str | None) -> None:
    from deblur_tf.base.files import write_text
    from deblur_tf.study import answers, design, scores

    if _ANSWERS.value:
        found = scores.read_csv(_ANSWERS.value)
    elif folder:
        found = scores.ratings(design.read(folder), answers.Answers(folder))
    else:
        raise common.UsageError("give the folder of a study, or --answers")
    table = scores.table(found, _DRAWS.value, _SEED.value)
    if folder:
        write_text(pathlib.Path(folder) / "scores.md", table + "\n")
    print(table)


_FLAGS = {
    "make": ("methods", "output", "images", "crop", "seed"),
    "serve": ("host", "port"),
    "score": ("answers", "draws", "seed"),
}


def main(argv: Sequence[str]) -> int:
    command, *folders = argv[1:] or [""]
    common.refuse_flags(command, _FLAGS)
    if command == "make" and not folders:
        _make()
    elif command == "serve" and len(folders) == 1:
        _serve(folders[0])
    elif command == "score" and (len(folders) == 1 or (not folders and _ANSWERS.value)):
        _score(folders[0] if folders else None)
    else:
        raise common.UsageError("give make, serve STUDY or score STUDY")
    return common.OK


def entry() -> None:
    common.run(main, __doc__, max_arguments=2)


if __name__ == "__main__":
    entry()
