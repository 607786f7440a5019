"""What must outlive the sidecar: each pod's job and how far it has come.

One SQLite file in the state directory. Every method is one short transaction that is
on the disk when it returns; the caller may be killed between any two of them. It must
not know schedulers: what to do about a record is the engine's.

A record moves only forward::

    intent -> submitted -> terminal -> deleted
       \\__________\\_____-> deleting -----^

``intent``: there may be a job, its id is not known. ``deleting``: the job is to end,
which is not yet confirmed. ``deleted`` rows stay, so that a late create of the same
pod is not a new one.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias, cast

from .backend import Job, Observation
from .job import JobSpec

Phase: TypeAlias = Literal["intent", "submitted", "terminal", "deleting", "deleted"]
Kept: TypeAlias = Literal["all", "logs", "nothing"]

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS jobs (
    uid TEXT PRIMARY KEY,
    phase TEXT NOT NULL,
    job_id TEXT NOT NULL DEFAULT '',
    spec TEXT NOT NULL,
    observation TEXT NOT NULL DEFAULT '{}',
    kept TEXT NOT NULL DEFAULT 'all',
    changed REAL NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS jobs_by_phase ON jobs (phase, changed);
CREATE TABLE IF NOT EXISTS account (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    owner TEXT NOT NULL
) STRICT;
PRAGMA user_version = 1;
"""


@dataclass(frozen=True, slots=True)
class Record:
    """One pod's job. ``job_id`` is empty while it is not known."""

    spec: JobSpec
    phase: Phase
    job_id: str
    observation: Observation

    @property
    def job(self) -> Job:
        """The job, as a backend takes it."""
        return Job(self.spec, self.job_id)


class Records:
    """The jobs of one sidecar, by pod uid."""

    def __init__(self, path: Path) -> None:
        path.touch(mode=0o600)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def get(self, uid: str) -> Record | None:
        """The record of a pod, or None where none was ever made."""
        found = self._select("WHERE uid = ?", (uid,))
        return found[0] if found else None

    def in_phase(self, *phases: Phase) -> list[Record]:
        """Records of these phases, oldest change first."""
        marks = ", ".join("?" * len(phases))
        return self._select(f"WHERE phase IN ({marks}) ORDER BY changed", phases)

    def with_secrets(self) -> list[Record]:
        """Ended jobs of which more than the logs is still kept."""
        return self._select(
            "WHERE phase IN ('terminal', 'deleted') AND kept = 'all'", ()
        )

    def with_logs(self, before: float) -> list[Record]:
        """Pods deleted before a Unix time of which something is still kept."""
        return self._select(
            "WHERE phase = 'deleted' AND kept <> 'nothing' AND changed < ?", (before,)
        )

    def keep(self, uid: str, kept: Kept) -> None:
        """What is still kept of a job on the disk."""
        self._db.execute("UPDATE jobs SET kept = ? WHERE uid = ?", (kept, uid))

    def intend(self, spec: JobSpec) -> bool:
        """A job for this pod is about to be submitted; False if it is on record."""
        return self._insert(spec, "intent")

    def submitted(self, uid: str, job_id: str) -> None:
        """The scheduler has this job; a wish to delete it that came meanwhile stays."""
        self._db.execute(
            "UPDATE jobs SET job_id = ?, changed = ?,"
            " phase = CASE phase WHEN 'intent' THEN 'submitted' ELSE phase END"
            " WHERE uid = ?",
            (job_id, time.time(), uid),
        )

    def withdraw(self, uid: str) -> None:
        """The scheduler refused: there is no job, and the pod may be sent again."""
        self._db.execute("DELETE FROM jobs WHERE uid = ? AND phase = 'intent'", (uid,))

    def observed(self, uid: str, observation: Observation) -> None:
        """What is known now; once the job has ended, that is kept for ever."""
        self._db.execute(
            "UPDATE jobs SET observation = ?, changed = ?, phase = CASE"
            " WHEN NOT ? THEN phase WHEN phase = 'submitted' THEN 'terminal'"
            " WHEN phase = 'deleting' THEN 'deleted' ELSE phase END"
            " WHERE uid = ? AND phase IN ('submitted', 'deleting')",
            (observation.model_dump_json(), time.time(), observation.ended, uid),
        )

    def delete(self, spec: JobSpec) -> None:
        """The pod's job is to end, whatever happens; an unknown pod is remembered."""
        if not self._insert(spec, "deleting"):
            self._db.execute(
                "UPDATE jobs SET changed = ?, phase ="
                " CASE phase WHEN 'terminal' THEN 'deleted' ELSE 'deleting' END"
                " WHERE uid = ? AND phase NOT IN ('deleting', 'deleted')",
                (time.time(), spec.uid),
            )

    def prune(self, before: float) -> None:
        """Forget pods deleted before a Unix time."""
        self._db.execute(
            "DELETE FROM jobs WHERE phase = 'deleted' AND changed < ?", (before,)
        )

    def claim_account(self, owner: str) -> str:
        """The hub user to whom the account belongs: the first who ever asked."""
        self._db.execute("INSERT OR IGNORE INTO account VALUES (1, ?)", (owner,))
        row = self._db.execute("SELECT owner FROM account").fetchone()
        return str(row[0])

    def _insert(self, spec: JobSpec, phase: Phase) -> bool:
        cursor = self._db.execute(
            "INSERT OR IGNORE INTO jobs (uid, phase, spec, changed)"
            " VALUES (?, ?, ?, ?)",
            (spec.uid, phase, spec.model_dump_json(), time.time()),
        )
        return cursor.rowcount == 1

    def _select(self, where: str, values: Iterable[object]) -> list[Record]:
        rows = self._db.execute(
            f"SELECT spec, phase, job_id, observation FROM jobs {where}",  # noqa: S608
            tuple(values),
        )
        return [
            Record(
                spec=JobSpec.model_validate_json(spec),
                phase=cast("Phase", phase),
                job_id=job_id,
                observation=Observation.model_validate_json(observation),
            )
            for spec, phase, job_id, observation in rows
        ]
