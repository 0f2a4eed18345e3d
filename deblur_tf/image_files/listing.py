"""Finds photographs, and plans where their results are written."""

from __future__ import annotations

import dataclasses
import glob
import pathlib
from collections.abc import Collection, Iterable, Iterator, Sequence

from deblur_tf.base.errors import UsageError
from deblur_tf.image_files.walking import hidden, walk
from deblur_tf.image_files.writing import FORMATS

# Formats that are read but not written, and the format written instead.
READ_ONLY = {
    ".gif": ".png",
    ".mpo": ".jpg",
    ".ppm": ".png",
    ".pgm": ".png",
    ".pnm": ".png",
    ".j2k": ".jp2",
    ".jpx": ".jp2",
    ".jpf": ".jp2",
}
PHOTO_EXTENSIONS = (*FORMATS, *READ_ONLY)


@dataclasses.dataclass(frozen=True)
class Source:
    """A photograph to restore.

    Attributes:
      path: path of the file.
      relative: its path below the given folder, and below the output folder.
    """

    path: pathlib.Path
    relative: pathlib.Path


@dataclasses.dataclass
class SearchResult:
    """Result of a search.

    Attributes:
      sources: the photographs, sorted in each folder.
      others: files whose extension is not that of a photograph.
      unreadable: folders that could not be listed, with the reason.
    """

    sources: list[Source] = dataclasses.field(default_factory=list)
    others: list[pathlib.Path] = dataclasses.field(default_factory=list)
    unreadable: list[str] = dataclasses.field(default_factory=list)


def is_photo(path: pathlib.Path) -> bool:
    """Whether the extension, in any case, is one of `PHOTO_EXTENSIONS`."""
    return path.suffix.lower() in PHOTO_EXTENSIONS


def search(
    inputs: Iterable[str],
    recursive: bool,
    output: pathlib.Path,
    made: Collection[pathlib.Path] = (),
) -> SearchResult:
    """Finds the photographs in files, folders and patterns, each once.

    Hidden files and folders are skipped, as are those that macOS adds to archives, and the
    output folder where it lies inside an input.

    Args:
      inputs: paths and patterns.
      recursive: whether subfolders are searched.
      output: folder of the results.
      made: resolved paths of existing results, which are skipped in folders and patterns.

    Raises:
      UsageError: if an input does not exist, or is a file that is not a photograph.
    """
    found = SearchResult()
    for given in inputs:
        paths = [pathlib.Path(given)]
        if not paths[0].exists():
            paths = [pathlib.Path(p) for p in sorted(glob.glob(given, recursive=True))]
        if not paths:
            raise UsageError(f"{given}: no such file or folder")
        pattern = len(paths) > 1 or str(paths[0]) != str(pathlib.Path(given))
        for path in _kept(given, paths, output, made) if pattern else paths:
            if path.is_dir():
                if not pattern or recursive:
                    _walk(path, recursive, output, made, found)
            elif is_photo(path):
                found.sources.append(Source(path, pathlib.Path(path.name)))
            elif pattern:
                found.others.append(path)
            else:
                known = " ".join(PHOTO_EXTENSIONS)
                raise UsageError(f"{path}: not a photograph by its extension; known are {known}")
    once = {source.path.resolve(): source for source in reversed(found.sources)}
    found.sources = [s for s in found.sources if once[s.path.resolve()] is s]
    return found


def _fixed_parts(pattern: str) -> int:
    """How many parts of a path come before the first with a wildcard."""
    parts = pathlib.Path(pattern).parts
    return next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))


def _kept(
    pattern: str,
    matches: Sequence[pathlib.Path],
    output: pathlib.Path,
    made: Collection[pathlib.Path],
) -> list[pathlib.Path]:
    """The matches of a pattern, without results and hidden files.

    Matches in the output folder are left out too, unless all matches are in it.
    """
    where = output.resolve()
    found = [(path, path.resolve()) for path in matches]
    inside = {path for path, full in found if full == where or where in full.parents}
    inside = set() if len(inside) == len(found) else inside
    first = _fixed_parts(pattern)
    return [
        path
        for path, full in found
        if full not in made
        and path not in inside
        and not any(hidden(part) for part in path.parts[first:])
    ]


def _walk(
    root: pathlib.Path,
    recursive: bool,
    output: pathlib.Path,
    made: Collection[pathlib.Path],
    found: SearchResult,
) -> None:
    skipped = output.resolve()

    def failed(error: OSError) -> None:
        found.unreadable.append(f"{error.filename}: {error.strerror}")

    for here, names, files in walk(root, failed):
        names[:] = [n for n in names if recursive and (here / n).resolve() != skipped]
        for path in (here / name for name in files):
            if path.resolve() in made:
                continue
            if is_photo(path):
                found.sources.append(Source(path, path.relative_to(root)))
            else:
                found.others.append(path)


@dataclasses.dataclass(frozen=True)
class Task:
    """A photograph and the output files made from it.

    Attributes:
      source: the photograph.
      target: the restored picture, written last.
      samples: the files of the individual samples, if there are several.
      uncertainty: the picture of the spread of the samples, if there are several.
    """

    source: Source
    target: pathlib.Path
    samples: tuple[pathlib.Path, ...] = ()
    uncertainty: pathlib.Path | None = None

    def outputs(self) -> Iterator[pathlib.Path]:
        """All output files."""
        yield self.target
        yield from self.samples
        if self.uncertainty is not None:
            yield self.uncertainty


def plan(
    sources: Sequence[Source],
    output: pathlib.Path,
    extension: str = "auto",
    suffix: str = "",
    seed: int = 0,
    n_samples: int = 1,
) -> list[Task]:
    """Plans where all results are written; writes nothing.

    Args:
      sources: the photographs.
      output: folder of the results.
      extension: extension of the results, without dot; "auto" keeps the source's extension.
      suffix: added to the names.
      seed, n_samples: used in the names of samples.

    Raises:
      UsageError: if two results would get the same name, or one the name of an input.
    """
    tasks = []
    inputs = {source.path.resolve(): source.path for source in sources}
    taken: dict[pathlib.Path, pathlib.Path] = {}
    for source in sources:
        ending = source.path.suffix if extension == "auto" else f".{extension}"
        ending = READ_ONLY.get(ending.lower(), ending)
        base = (output / source.relative).with_suffix("")
        base = base.with_name(source.path.stem + suffix)
        target = base.with_name(base.name + ending)
        samples: tuple[pathlib.Path, ...] = ()
        uncertainty = None
        if n_samples > 1:
            samples = tuple(
                base.with_name(f"{base.name}_s{seed}_{i}{ending}") for i in range(n_samples)
            )
            uncertainty = base.with_name(f"{base.name}_uncertainty.png")
        task = Task(source, target, samples, uncertainty)
        for path in task.outputs():
            where = path.resolve()
            if where in inputs:
                whose = "its" if inputs[where] == source.path else "another"
                raise UsageError(
                    f"{path}: would overwrite {whose} input; choose another --output or a --suffix"
                )
            if where in taken:
                raise UsageError(
                    f"{taken[where]} and {source.path} would both be written to {path}; rename "
                    "one, or use --ext=auto or another --suffix"
                )
            taken[where] = source.path
        tasks.append(task)
    return tasks
