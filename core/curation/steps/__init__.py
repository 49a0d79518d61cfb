"""The steps of a recipe: name, what they do, and where their code is.

Knows: names. Does not know: how anything is done; the code is imported when it runs.
A step is `function(rows: Rows, arguments: dict, tools: Tools) -> Report`. It checks its arguments
itself (Invalid names the field) and does the same thing to the same rows every time: what depends
on chance takes a seed, what a person decided is in the arguments.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One kind of step."""

    function: str
    """`module:function`."""
    label: str
    """What a person reads in the list of steps."""
    summary: str
    """One sentence: what it does to the rows."""


STEPS: dict[str, Step] = {
    # text
    "trim": Step("core.curation.steps.text:trim", "Trim", "Takes white space off both ends."),
    "normalise": Step(
        "core.curation.steps.text:normalise",
        "Normalise",
        "One Unicode form and line end, single spaces, nothing invisible.",
    ),
    "repair_encoding": Step(
        "core.curation.steps.text:repair_encoding",
        "Repair encoding",
        "Mends text that was decoded wrongly.",
    ),
    "replace": Step(
        "core.curation.steps.text:replace",
        "Replace",
        "Replaces words or patterns, rule by rule.",
    ),
    "template": Step(
        "core.curation.steps.text:template",
        "Template",
        "Writes a column from the others.",
    ),
    "case": Step(
        "core.curation.steps.text:case",
        "Change case",
        "Small letters, capitals, title or sentence case.",
    ),
    "prompt": Step(
        "core.curation.steps.prompt:prompt",
        "Ask a model",
        "Writes a column with a model's answers.",
    ),
    # rows
    "drop_rows": Step(
        "core.curation.steps.rows:drop_rows",
        "Drop rows",
        "Removes rows that were chosen.",
    ),
    "restore_rows": Step(
        "core.curation.steps.rows:restore_rows",
        "Restore rows",
        "Puts back rows that an earlier version had.",
    ),
    "filter": Step(
        "core.curation.steps.rows:filter",
        "Filter",
        "Keeps the rows that meet conditions.",
    ),
    "drop_where": Step(
        "core.curation.steps.rows:drop_where",
        "Drop where",
        "Removes the rows that meet conditions.",
    ),
    "tag": Step("core.curation.steps.rows:tag", "Tag", "Adds words to the tags of rows."),
    "untag": Step("core.curation.steps.rows:untag", "Untag", "Takes words off the tags of rows."),
    "set_split": Step("core.curation.steps.rows:set_split", "Set split", "Puts rows into a split."),
    "sort": Step("core.curation.steps.rows:sort", "Sort", "Orders the rows by columns."),
    "sample": Step(
        "core.curation.steps.rows:sample",
        "Sample",
        "Keeps a random part, the same for the same seed.",
    ),
    "edit_cells": Step(
        "core.curation.steps.edit:edit_cells",
        "Edit cells",
        "Sets cells that were edited by hand.",
    ),
    "split": Step(
        "core.curation.steps.split:split",
        "Split",
        "Deals the rows out to train, validation and test; what belongs together stays together.",
    ),
    "query": Step(
        "core.curation.steps.query:query",
        "Query",
        "Keeps, drops or tags the rows that a SELECT names.",
    ),
    # columns
    "rename_column": Step(
        "core.curation.steps.columns:rename_column",
        "Rename column",
        "Gives a column another name.",
    ),
    "set_role": Step(
        "core.curation.steps.columns:set_role",
        "Set role",
        "Makes a column an input, the expected answer, or metadata.",
    ),
    "retype": Step(
        "core.curation.steps.columns:retype",
        "Change type",
        "Stores a column as another type.",
    ),
    "add_column": Step(
        "core.curation.steps.columns:add_column",
        "Add column",
        "A new column, empty or with one value.",
    ),
    "drop_columns": Step(
        "core.curation.steps.columns:drop_columns",
        "Drop columns",
        "Removes columns.",
    ),
    # duplicates
    "deduplicate": Step(
        "core.curation.steps.deduplicate:deduplicate",
        "Remove duplicates",
        "Leaves one row of each group of duplicates.",
    ),
    # personal data
    "redact": Step(
        "core.curation.steps.personal:redact",
        "Redact",
        "Puts [EMAIL], [PERSON] and so on in place of personal data and secrets.",
    ),
    "mask": Step(
        "core.curation.steps.personal:mask",
        "Mask",
        "Covers personal data and secrets, keeping their shape.",
    ),
    "pseudonymise": Step(
        "core.curation.steps.personal:pseudonymise",
        "Pseudonymise",
        "Gives each person, address and number one name of its own, everywhere the same.",
    ),
}
