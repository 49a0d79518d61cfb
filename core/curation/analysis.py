"""The job `dataset.analyse`: the profile, the signals and every detector over one version, in turn.

    <version>.findings/<part>.run.json      asked / happened of one part: options, state, seconds
    <version>.findings/<detector>.parquet   its findings, whole or not there
    <version>.findings/profile.json, signals.parquet, signals.json

A part is done when its record says so for the same key: the same job again, after a stop or a
kill, asks only for what is not done. A part that fails is written down and the others go on.

Knows: parts, their records, progress. Does not know: how anything is found, the database.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import logging
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.clock import utc_iso
from core.curation.detectors import DETECTORS
from core.curation.findings import findings_folder, write_findings
from core.curation.profile import model_name, tokenizer_name
from core.curation.tools import Tools
from core.datasets.table import Table
from core.errors import JobFailed, LatheError, NotFound
from core.ids import content_hash, new_id
from core.jobs.context import Cancelled
from core.store.files import FileLock, inside, read_json, write_json

if TYPE_CHECKING:
    from core.jobs.context import JobContext

log = logging.getLogger(__name__)

MOST_DEATHS = 2
"""A part whose process ended this often within it is given up, so that the others have a turn."""
WAIT_S = 1.0
UNITS = 1000
"""What a job's progress is counted in."""


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that an analysis does."""

    label: str
    start_s: float
    """What it costs before the first row: imports, models."""
    row_ms: float
    """Per row of about 300 characters, on one core."""
    revision: int = 1
    """Counts the changes of this part that make what it found before worthless."""


PARTS: dict[str, Part] = {
    "profile": Part("Profile", 1.0, 0.05),
    "signals": Part("Signals", 3.0, 0.25),
    "secrets": Part("Secrets", 0.3, 0.7, revision=3),
    "exact": Part("Exact duplicates", 0.1, 0.02),
    "encoding": Part("Encoding", 0.1, 0.1, revision=2),
    "quality": Part("Quality", 0.1, 0.2, revision=2),
    "near": Part("Near duplicates", 0.3, 0.5),
    "language": Part("Language", 0.3, 1.0),
    "leakage": Part("Leakage", 0.2, 0.3),
    "personal": Part("Personal data", 0.5, 1.5, revision=3),
    "semantic": Part("Same meaning", 5.0, 8.0),
    "labels": Part("Labels", 1.0, 8.0),
    "outliers": Part("Outliers", 0.2, 0.2),
    "checks": Part("Checks", 1.0, 0.05),
    "map": Part("Map", 15.0, 1.5),
}
"""In the order they run: the cheap ones first, those that embed last, when one has embedded."""
PERPLEXITY = Part("Perplexity", 10.0, 400.0)
"""Of the starter model; a part of the signals, for those rows that are read."""
USUAL = tuple(name for name in PARTS if name not in ("checks", "map"))
"""What is done when nobody says what: checks run by themselves, the map finds no faults."""


def work(job: JobContext) -> dict[str, Any]:
    """Do what the payload asks; how many findings each part gave, and which failed.

    Raises JobFailed when every part failed; what is done stays.
    """
    asked = job.payload
    home = job.folder.path.parents[1]
    table = located(home, asked["table"])
    if not table.path.exists():
        raise NotFound(f"The rows of the dataset are gone: {table.path.name}.")
    tools = Tools(
        cache=home / "cache" / "curation",  # the steps' own: no text is embedded twice
        embedding_model=Path(asked["embedding_model"]) if asked["embedding_model"] else None,
        check=job.raise_if_cancelled,
        others={label: located(home, other).to_dict() for label, other in asked["others"].items()},
    )
    return Analysis(job, table, tools, asked).run()


def located(home: Path, table: Mapping[str, Any]) -> Table:
    """A table whose path in a payload is relative to the home."""
    path = inside(home, *str(table["path"]).split("/"))
    return Table.of({"path": path, "columns": table["columns"]})


def order(names: Sequence[str]) -> list[str]:
    """The parts in the order they run."""
    return [name for name in PARTS if name in names]


def key_of(name: str, payload: Mapping[str, Any]) -> str:
    """What a part's result depends on besides the rows: another key, and it is computed anew."""
    detector = DETECTORS.get(name)
    told: dict[str, Any] = {
        "revision": PARTS[name].revision,
        "options": payload["options"].get(name, {}),
    }
    if detector is not None and detector.embeds:
        told["embedding_model"] = model_name(Path(payload["embedding_model"] or ""))
    if name == "leakage":
        told["others"] = {label: other["path"] for label, other in payload["others"].items()}
    if name in ("profile", "signals"):
        told["tokenizer"] = tokenizer_name(Path(payload["tokenizer"] or "none/none"))
    return content_hash(told)


def record_path(folder: Path, name: str) -> Path:
    """Where a part's record lies."""
    return folder / f"{name}.run.json"


def is_outdated(folder: Path, name: str) -> bool:
    """Whether what lies there of a part was made before the part was changed: not to be shown."""
    record = read_json(record_path(folder, name))
    return record is not None and record.get("revision", 1) != PARTS[name].revision


def is_done(folder: Path, name: str, key: str) -> bool:
    """Whether the part has a result for this key."""
    record = read_json(record_path(folder, name)) or {}
    return bool(record.get("state") == "done" and record.get("key") == key)


def estimate_s(
    names: Sequence[str],
    row_count: int,
    bytes_per_row: float = 300.0,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> float:
    """About how long these parts take on this many rows; rows of more text take longer."""
    scale = max(0.25, bytes_per_row / 300.0)
    seconds = sum(PARTS[n].start_s + PARTS[n].row_ms / 1000 * row_count * scale for n in names)
    asked = (options or {}).get("signals", {})
    if "signals" in names and asked.get("perplexity"):
        from core.curation.signals import PERPLEXITY_ROWS

        read = min(row_count, int(asked.get("perplexity_rows") or PERPLEXITY_ROWS))
        seconds += PERPLEXITY.start_s + PERPLEXITY.row_ms / 1000 * read * min(scale, 4.0)
    return seconds


class Analysis:
    """One run over one version."""

    def __init__(
        self, job: JobContext, table: Table, tools: Tools, asked: Mapping[str, Any]
    ) -> None:
        self._job = job
        self._table = table
        self._tools = tools
        self._asked = asked
        self._folder = findings_folder(table.path)
        self._row_count = table.count()
        self._names = order(asked["parts"])
        weights = [
            max(0.1, estimate_s([name], self._row_count, options=asked["options"]))
            for name in self._names
        ]
        self._weights = {
            name: weight / sum(weights) for name, weight in zip(self._names, weights, strict=True)
        }
        self._began = time.monotonic()
        self._share = self._share_at_start = 0.0

    def run(self) -> dict[str, Any]:
        """Every part that is not done yet; see `work`."""
        left = [n for n in self._names if not is_done(self._folder, n, key_of(n, self._asked))]
        self._share = self._share_at_start = sum(
            self._weights[name] for name in self._names if name not in left
        )
        for name in left:
            self._tools.check()
            self._tell(name, 0.0, "")
            with self._alone(name):
                if not is_done(self._folder, name, key_of(name, self._asked)):
                    self._do(name)
            self._share += self._weights[name]
        records = {name: read_json(record_path(self._folder, name)) or {} for name in self._names}
        failed = [name for name, record in records.items() if record.get("state") == "failed"]
        if failed and len(failed) == len(self._names):
            told = records[failed[0]]["error"]
            raise JobFailed(told["message"], title=told["title"], hint=told["hint"])
        labels = ", ".join(PARTS[name].label.lower() for name in failed)
        self._job.progress(UNITS, UNITS, f"without {labels}" if failed else "", eta_s=0)
        return {
            "counts": {name: record.get("count", 0) for name, record in records.items()},
            "failed": failed,
        }

    @contextlib.contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """While another analysis of this version does the same part, wait: its files are these."""
        lock = FileLock(self._folder / f"{name}.lock")
        while not lock.acquire():
            self._tools.check()
            self._tell(name, 0.0, "another analysis of this version is at it")
            time.sleep(WAIT_S)
        try:
            yield
        finally:
            lock.release()

    def _do(self, name: str) -> None:
        """One part, its record before and after."""
        path = record_path(self._folder, name)
        if is_outdated(self._folder, name):
            (self._folder / f"{name}.parquet").unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        before = read_json(path) or {}
        deaths = before.get("deaths", 0) + 1 if before.get("state") == "running" else 0
        record = {
            "part": name,
            "key": key_of(name, self._asked),
            "revision": PARTS[name].revision,
            "options": self._asked["options"].get(name, {}),
            "at": utc_iso(),
            "deaths": deaths,
            "count": 0,
            "seconds": None,
            "notes": {},
            "error": None,
        }
        if deaths >= MOST_DEATHS:
            write_json(path, {**record, "state": "failed", "error": _killed(deaths)})
            return
        write_json(path, {**record, "state": "running"})
        began = time.monotonic()
        try:
            record["count"], record["notes"] = self._function(name)()
            state = "done"
        except Cancelled:
            if before.get("state") == "done":
                write_json(path, before)  # what it found for another key is still there
            else:
                path.unlink(missing_ok=True)
            raise
        except Exception as error:  # the edge of a part: written down, and the others go on
            state, record["error"] = "failed", self._told(name, error)
            (self._folder / f"{name}.parquet").unlink(missing_ok=True)
        record["seconds"] = round(time.monotonic() - began, 2)
        write_json(path, {**record, "state": state, "deaths": 0})

    def _function(self, name: str) -> Callable[[], tuple[int, dict[str, Any]]]:
        tools = dataclasses.replace(
            self._tools,
            tell=lambda share, message: self._tell(name, share, message),
            options=dict(self._asked["options"].get(name, {})),
        )
        tokenizer = Path(self._asked["tokenizer"]) if self._asked["tokenizer"] else None
        if name == "profile":
            from core.curation.profile import write_profile

            return lambda: write_profile(self._table, self._folder, tools, tokenizer)
        if name == "signals":
            from core.curation.signals import write_signals

            return lambda: write_signals(self._table, self._folder, tools, tokenizer)
        return lambda: (self._detect(name, tools), {})

    def _detect(self, name: str, tools: Tools) -> int:
        module, function = DETECTORS[name].function.split(":")
        detect = getattr(importlib.import_module(module), function)
        found = detect(self._table, tools)
        return write_findings(self._folder / f"{name}.parquet", found)

    def _tell(self, name: str, share: float, message: str) -> None:
        share = min(max(share, 0.0), 1.0)
        done = self._share + self._weights[name] * share
        text = PARTS[name].label + (f": {message}" if message else "")
        self._job.progress(
            min(int(done * UNITS), UNITS - 1), UNITS, text, eta_s=self._left_s(done), part=name
        )

    def _left_s(self, done: float) -> float:
        """By the pace of this attempt, once it says something; before that by the estimate."""
        passed, moved = time.monotonic() - self._began, done - self._share_at_start
        if moved < 0.05:
            whole = estimate_s(self._names, self._row_count, options=self._asked["options"])
            return round(whole * (1 - done), 1)
        return round(passed / moved * (1 - done), 1)

    def _told(self, name: str, error: Exception) -> dict[str, Any]:
        if isinstance(error, LatheError):
            self._job.log(f"{PARTS[name].label}: {error.message}")
            return error.to_dict()
        error_id = new_id("err")
        traceback.print_exc()
        log.error("%s failed, error id %s", name, error_id)
        self._job.log(f"{PARTS[name].label}: {type(error).__name__}: {error} ({error_id})")
        return {
            "type": "JobFailed",
            "title": f"{PARTS[name].label} ended in an unexpected error",
            "message": f"{type(error).__name__}: {error}",
            "hint": f"The job's log has the details under {error_id}.",
        }


def _killed(deaths: int) -> dict[str, Any]:
    return {
        "type": "JobFailed",
        "title": "The process ended while it looked",
        "message": f"It was killed or ran out of memory {deaths} times.",
        "hint": "Close what else needs memory, then look for this alone.",
    }
