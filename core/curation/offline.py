"""A recipe done to a file without a workspace: rows, manifest, report and recipe in a folder.

    data.parquet      the rows
    report.json       what the import and each step did
    recipe.yaml       the recipe, the mapping of the import written out
    manifest.json     content hash, counts, columns, hashes of the files; last: it says all is whole

Knows: files in, files out. Does not know: the store. The same file and recipe give the same
content hash here as in a workspace.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace as with_changes
from pathlib import Path
from typing import Any

from core.curation.recipe import Recipe, Step
from core.curation.replay import OnStep, Workshop
from core.curation.tools import Tools
from core.datasets.importing import format_options, import_source
from core.datasets.mapping import guess
from core.datasets.readers import open_source
from core.datasets.scan import head
from core.datasets.table import Table
from core.errors import Invalid
from core.store.files import write_atomic, write_json

DATA, REPORT, RECIPE, MANIFEST = "data.parquet", "report.json", "recipe.yaml", "manifest.json"


def curate_file(
    recipe: Recipe,
    file: Path,
    out: Path,
    tools: Tools,
    *,
    on_step: OnStep = lambda number, step: None,
    on_import: Callable[[int], None] = lambda rows: None,
) -> dict[str, Any]:
    """Import the file, do the steps, write the folder; the manifest.

    All of it or nothing: what the folder held before stays when something fails. Raises what an
    import raises (BadRows with every fault), and Invalid naming the step.
    """
    reads = dict(recipe.reads or {})
    options = reads.get("options") or {}
    source = open_source(file.name, file, options=format_options(options))
    mapping = reads.get("mapping") or guess(*head(source))
    if not mapping:
        raise Invalid(f"{file.name} has no columns.", field="input")
    if out.exists() and not out.is_dir():
        raise Invalid(f"{out} is a file, not a folder.", field="output")
    out.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=out, prefix=".curating-"))
    try:
        imported = import_source(
            source, mapping, work / "imported", options=options, check=tools.check
        )
        on_import(imported.written.row_count)
        table = Table(imported.written.path, tuple(imported.columns))
        replayed = Workshop(work, table, recipe.steps, tools, on_step).replay(work / "out")
        whole = with_changes(recipe, reads=imported.recipe["import"])
        written = replayed.written
        report = {**imported.report, "steps": list(replayed.reports)}
        manifest = {
            "content_hash": written.content_hash,
            "row_count": written.row_count,
            "imported_row_count": imported.written.row_count,
            "columns": [column.to_dict() for column in replayed.columns],
            "source": imported.source,
            "recipe_hash": whole.content_hash,
            "sha256": written.sha256,
        }
        (out / MANIFEST).unlink(missing_ok=True)
        os.replace(written.path, out / DATA)
        write_json(out / REPORT, report)
        write_atomic(out / RECIPE, whole.dump())
        write_json(out / MANIFEST, manifest)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return manifest


def models_of(steps: tuple[Step, ...]) -> list[str]:
    """The names of the models that the steps ask."""
    return sorted({step["model"] for step in steps if step["step"] == "prompt"})
