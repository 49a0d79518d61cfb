"""Replay: the steps of a recipe done to rows, and the job that makes a new version of them.

In the job the rows are a table of a DuckDB file in the job's folder. Each step is one transaction
with its line in `steps_done`: after kill -9 the job goes on at the next step.

Knows: steps, transactions, reports. Does not know: the store; a finisher commits what is written.
"""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.curation.asking import Asking
from core.curation.recipe import Recipe, Step, checked_steps
from core.curation.rows import Report, Rows
from core.curation.steps import STEPS
from core.curation.tools import Tools
from core.datasets.files import Column, Written
from core.datasets.snapshots import write_snapshot
from core.datasets.table import Table, connect
from core.errors import Invalid

if TYPE_CHECKING:
    import duckdb

    from core.jobs.context import JobContext

OnStep = Callable[[int, Step], None]
REPORT_CHARACTERS = 300
"""How much of a cell the report of a version keeps in its examples."""

BOOKS = """
CREATE TABLE IF NOT EXISTS steps_done (
    number INTEGER PRIMARY KEY,       -- 0: the rows are loaded; 1 and on: the recipe's steps
    step VARCHAR,
    columns JSON,
    report JSON
)
"""


def replay(
    rows: Rows,
    steps: Sequence[Mapping[str, Any]],
    tools: Tools,
    *,
    on_step: OnStep = lambda number, step: None,
) -> list[Report]:
    """Do the steps in order; one report a step. An Invalid of a step says which one it was."""
    reports = []
    for number, step in enumerate(checked_steps(steps)):
        on_step(number, step)
        reports.append(do_step(rows, number, step, tools))
    return reports


def do_step(rows: Rows, number: int, step: Step, tools: Tools) -> Report:
    """One step."""
    module, name = STEPS[step["step"]].function.split(":")
    function: Callable[[Rows, Step, Tools], Report]
    function = getattr(importlib.import_module(module), name)
    tools.check()
    try:
        report = function(rows, step, tools)
    except Invalid as error:
        raise Invalid(
            f"Step {number + 1}, {STEPS[step['step']].label}: {error.message}",
            field=f"steps.{number}.{error.field}" if error.field else f"steps.{number}",
            hint=error.hint,
        ) from error
    tools.tell(1.0, STEPS[step["step"]].label)
    return report


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay into a file gave."""

    written: Written
    columns: tuple[Column, ...]
    reports: tuple[dict[str, Any], ...]
    """By step: step, changed, removed, rows, counts, examples."""

    def to_dict(self) -> dict[str, Any]:
        """As the value of a job has it."""
        return {
            "written": self.written.to_dict(),
            "columns": [column.to_dict() for column in self.columns],
            "reports": [dict(report) for report in self.reports],
        }


@dataclass(slots=True)
class Workshop:
    """Rows in a DuckDB file of a folder, and how far the steps are."""

    folder: Path
    table: Table
    steps: tuple[Step, ...]
    tools: Tools
    on_step: OnStep = field(default=lambda number, step: None)

    def replay(self, out: Path) -> Replayed:
        """Do what is not done yet, then write the rows into the folder `out`."""
        with self._opened() as connection:
            rows = self._rows(connection)
            for number, step in enumerate(self.steps):
                if number < self._done(connection):
                    continue
                self.on_step(number, step)
                with _transaction(connection):
                    report = do_step(rows, number, step, self.tools)
                    told = {**report.to_dict(), "rows": rows.count()}
                    self._book(connection, number + 1, step["step"], rows, told)
            if not rows.count():
                raise Invalid(
                    "No row is left after these steps.",
                    field="steps",
                    hint="A version has at least one row: take out the step that removes them all.",
                )
            check_columns(rows.columns)
            written = write_snapshot(connection, "rows", rows.columns, out, check=self.tools.check)
            reports = connection.execute(
                "SELECT step, report FROM steps_done WHERE number > 0 ORDER BY number"
            ).fetchall()
        summaries = tuple({"step": name, **_shortened(json.loads(said))} for name, said in reports)
        return Replayed(written, tuple(rows.columns), summaries)

    def clear(self) -> None:
        """Remove the file: what was written does not need it any more."""
        for path in self.folder.glob("rows.duckdb*"):
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[duckdb.DuckDBPyConnection]:
        self.folder.mkdir(parents=True, exist_ok=True)
        connection = connect(str(self.folder / "rows.duckdb"), temp=self.folder / "temp")
        try:
            connection.execute(BOOKS)
            yield connection
        finally:
            connection.close()

    def _rows(self, connection: duckdb.DuckDBPyConnection) -> Rows:
        found = connection.execute(
            "SELECT columns FROM steps_done ORDER BY number DESC LIMIT 1"
        ).fetchone()
        if found:
            return Rows(connection, [Column(**column) for column in json.loads(found[0])])
        with _transaction(connection):
            rows = Rows.load(connection, self.table)
            self._book(connection, 0, "", rows, {})
        return rows

    def _done(self, connection: duckdb.DuckDBPyConnection) -> int:
        row = connection.execute("SELECT max(number) FROM steps_done").fetchone()
        return int(row[0]) if row else 0

    def _book(
        self,
        connection: duckdb.DuckDBPyConnection,
        number: int,
        name: str,
        rows: Rows,
        report: dict[str, Any],
    ) -> None:
        columns = json.dumps([column.to_dict() for column in rows.columns])
        connection.execute(
            "INSERT INTO steps_done VALUES ($number, $step, $columns, $report)",
            {
                "number": number,
                "step": name,
                "columns": columns,
                "report": json.dumps(report, ensure_ascii=False, default=str),
            },
        )


def check_columns(columns: Sequence[Column]) -> None:
    """A version has an input, and at most one expected column; Invalid says what is wrong."""
    roles = [column.role for column in columns]
    if "input" not in roles:
        raise Invalid(
            "No column is an input after these steps.",
            field="steps",
            hint="Give one column the role input, or keep the one there was.",
        )
    if roles.count("expected") > 1:
        names = ", ".join(column.name for column in columns if column.role == "expected")
        raise Invalid(f"Two columns are expected: {names}.", field="steps",
                      hint="Make one of them metadata.")  # fmt: skip


def work(job: JobContext) -> dict[str, Any]:
    """The job `dataset.curate`: payload as `Recipes.apply` writes it; a value for the finisher."""
    payload = job.payload
    home = job.folder.path.parents[1]
    steps = Recipe.parse(payload["recipe"]).steps
    at = 0

    def tell(share: float, message: str) -> None:
        done = int((at + min(max(share, 0.0), 1.0)) * 100)
        job.progress(min(done, len(steps) * 100 - 1), len(steps) * 100, message)

    def on_step(number: int, step: Step) -> None:
        nonlocal at
        at = number
        job.log(f"step {number + 1} of {len(steps)}: {STEPS[step['step']].label}")
        tell(0.0, f"{STEPS[step['step']].label}, step {number + 1} of {len(steps)}")

    embedding_model = payload.get("embedding_model")
    tools = Tools(
        cache=home / "cache" / "curation",
        embedding_model=Path(embedding_model) if embedding_model else None,
        tell=tell,
        check=job.raise_if_cancelled,
        others=payload.get("others") or {},
        answer=Asking(home, payload.get("models") or {}, check=job.raise_if_cancelled),
    )
    version = payload["version"]
    table = Table.of({**version, "path": home / version["path"]})
    workshop = Workshop(job.folder.path, table, steps, tools, on_step)
    replayed = workshop.replay(job.folder.path / "out")
    workshop.clear()
    job.progress(len(steps) * 100, len(steps) * 100, "written")
    return replayed.to_dict()


@contextlib.contextmanager
def _transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    connection.begin()
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _shortened(report: dict[str, Any]) -> dict[str, Any]:
    """A report that the database can keep: long cells by how they begin."""
    examples = [
        {key: _begins(value) for key, value in example.items()}
        for example in report.get("examples", [])[:5]
    ]
    return {**report, "examples": examples}


def _begins(value: Any) -> Any:
    if isinstance(value, str) and len(value) > REPORT_CHARACTERS:
        return value[:REPORT_CHARACTERS] + "…"
    return value
