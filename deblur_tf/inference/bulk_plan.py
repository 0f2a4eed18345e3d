"""Plans which photographs a runner restores, and where their results are written."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from deblur_tf.base.errors import UsageError
from deblur_tf.image_files import listing
from deblur_tf.inference import remote_files
from deblur_tf.inference.bulk import Item, Request
from deblur_tf.inference.manifest import Manifest

# Stands for an output on another file system while results are planned.
_ELSEWHERE = pathlib.Path("/elsewhere")


def items(
    inputs: Sequence[str],
    recursive: bool,
    request: Request,
    extension: str,
    suffix: str,
    manifest: Manifest,
) -> list[Item]:
    """The photographs of files, folders and patterns, on any of Beam's file systems.

    Args:
      inputs: paths and patterns.
      recursive: whether subfolders are searched.
      request: how they are restored.
      extension, suffix: see `listing.plan`.
      manifest: the manifest of the output.

    Raises:
      UsageError: if there are none, or two results would get the same name.
    """
    remote = remote_files.is_remote(request.output)
    output = _ELSEWHERE if remote else pathlib.Path(request.output)
    found: list[tuple[str, listing.Source]] = []
    for given in inputs:
        if remote_files.is_remote(given):
            found += remote_files.search(given, recursive, request.output)
        else:
            made = () if remote else manifest.everything()
            here = listing.search([given], recursive, output, made)
            if here.unreadable:
                raise UsageError(here.unreadable[0])
            found += [(str(source.path.resolve()), source) for source in here.sources]
    if not found:
        raise UsageError(f"{', '.join(inputs)}: no photographs there")
    tasks = listing.plan(
        [source for _, source in found],
        output,
        extension,
        suffix,
        request.job["seed"],
        request.sampling.n_samples,
    )

    def name(path: pathlib.Path) -> str:
        return path.relative_to(output).as_posix()

    return [
        Item(
            path,
            task.source.relative.as_posix(),
            name(task.target),
            tuple(name(sample) for sample in task.samples),
            None if task.uncertainty is None else name(task.uncertainty),
            manifest.files.get(name(task.target)),
        )
        for task, (path, _) in zip(tasks, found, strict=True)
    ]
