"""Raters' answers in SQLite: each is on the disk before the next pair is shown."""

from __future__ import annotations

import contextlib
import os
import pathlib
import sqlite3
from collections.abc import Iterator

from deblur_tf.base.errors import SaveError, UsageError

ANSWERS_FILE = "answers.sqlite"
_TABLE = """create table if not exists answers (
  rater text not null,
  comparison integer not null,
  winner text not null check (winner in ('left', 'right')),
  at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  primary key (rater, comparison)
)"""


class Answers:
    """The answers of a study.

    Args:
      folder: folder of the study.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.path = pathlib.Path(folder) / ANSWERS_FILE
        with self._open() as connection:
            connection.execute(_TABLE)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = sqlite3.connect(self.path, timeout=30)
            with contextlib.closing(connection), connection:
                connection.execute("pragma synchronous = full")
                yield connection
        except sqlite3.OperationalError as error:  # locked, or no room on the disk
            raise SaveError(f"{self.path}: cannot be written ({error})") from error
        except sqlite3.DatabaseError as error:
            raise UsageError(f"{self.path}: not a file of answers ({error})") from error

    def give(self, rater: str, comparison: int, winner: str) -> None:
        """Keeps an answer, "left" or "right"; a second one replaces the first."""
        with self._open() as connection:
            connection.execute(
                "insert or replace into answers (rater, comparison, winner) values (?, ?, ?)",
                (rater, comparison, winner),
            )

    def of(self, rater: str) -> dict[int, str]:
        """A rater's answers by comparison."""
        with self._open() as connection:
            rows = connection.execute(
                "select comparison, winner from answers where rater = ?", (rater,)
            )
            return dict(rows.fetchall())

    def all(self) -> list[tuple[str, int, str]]:
        """(rater, comparison, winner) of all answers, in order."""
        with self._open() as connection:
            rows = connection.execute(
                "select rater, comparison, winner from answers order by rater, comparison"
            )
            return rows.fetchall()
