"""Prompts and their versions: immutable text, numbered, addressed by content; movable tags.

Knows: templates, variables, hashes, tags. Does not know: models, runs, Streamlit.
"""

from __future__ import annotations

import json
import re
from typing import Any

import duckdb

from core.clock import utc_now
from core.errors import Conflict, Invalid, NotFound
from core.generation import Generation
from core.governance.audit import record
from core.governance.permissions import Actor, action
from core.ids import content_hash, new_id
from core.prompts.samples import sample_prompts
from core.prompts.template import parse
from core.store.database import Row, Store, insert_row

Rows = list[Row]  # inside the class `list` is the method

_TAG = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_VERSION = """
    SELECT v.*, p.name AS prompt_name,
        coalesce((SELECT list(t.tag ORDER BY t.tag) FROM prompt_tags t
                  WHERE t.version_id = v.id), []) AS tags
    FROM prompt_versions v JOIN prompts p ON p.id = v.prompt_id
"""


class Prompts:
    """The prompts of a workspace."""

    noun = "prompts"

    def __init__(self, store: Store) -> None:
        self._store = store

    @action
    def list(
        self,
        actor: Actor,
        *,
        search: str = "",
        tag: str | None = None,
        archived: bool = False,
        limit: int = 500,
    ) -> Rows:
        """Last changed first, with `version_count`, `newest_version_id`, `variables`, `tags`.

        `search` takes words, all of which have to be in the name, the description or the newest
        text, in any case. `tags` maps each tag to its version's number.
        """
        found = self._store.rows(
            """
            WITH newest AS (
                SELECT * FROM prompt_versions
                QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY number DESC) = 1
            ), listed AS (
                SELECT p.*, n.id AS newest_version_id, coalesce(n.number, 0) AS version_count,
                    n.variables, coalesce(n.created_at, p.created_at) AS updated_at,
                    lower(concat_ws(chr(10), p.name, p.description, n.system_template,
                                    n.user_template)) AS haystack
                FROM prompts p LEFT JOIN newest n ON n.prompt_id = p.id
            )
            SELECT * EXCLUDE (haystack) FROM listed l
            WHERE (archived_at IS NOT NULL) = $archived
              AND len(list_filter($words::VARCHAR[], lambda w: NOT contains(haystack, w))) = 0
              AND ($tag IS NULL OR EXISTS (
                  SELECT 1 FROM prompt_tags t WHERE t.prompt_id = l.id AND t.tag = $tag))
            ORDER BY updated_at DESC, id DESC LIMIT $limit
            """,
            {"archived": archived, "words": search.lower().split(), "tag": tag, "limit": limit},
        )
        tags = self._tags()
        return [
            {**row, "variables": _parsed(row["variables"], []), "tags": tags.get(row["id"], {})}
            for row in found
        ]

    @action
    def get(self, actor: Actor, prompt_id: str) -> Row:
        """One prompt, with `version_count`, `newest_version_id` and `tags`."""
        row = self._store.get("prompts", prompt_id, noun="prompt")
        newest = self._newest(prompt_id)
        row["version_count"] = newest["number"] if newest else 0
        row["newest_version_id"] = newest["id"] if newest else None
        row["tags"] = self._tags().get(prompt_id, {})
        return row

    @action
    def create(self, actor: Actor, name: str, *, description: str = "") -> str:
        """A new prompt without versions; Conflict when the name is taken."""
        prompt_id = new_id("prompt")
        name = _checked_name(name)
        with self._store.transaction() as connection:
            _refuse_taken(connection, name)
            insert_row(
                connection,
                "prompts",
                {
                    "id": prompt_id,
                    "name": name,
                    "description": description.strip(),
                    "created_by": actor.id,
                    "created_at": utc_now(),
                },
            )
        record(self._store, actor, "prompts.create", prompt_id, name=name)
        return prompt_id

    @action
    def rename(
        self, actor: Actor, prompt_id: str, name: str, *, description: str | None = None
    ) -> None:
        """Change the name and, when given, the description; versions keep their ids."""
        self._store.get("prompts", prompt_id, noun="prompt")
        name = _checked_name(name)
        with self._store.transaction() as connection:
            _refuse_taken(connection, name, but=prompt_id)
            connection.execute(
                "UPDATE prompts SET name = $name, description = coalesce($description, description)"
                " WHERE id = $id",
                {"name": name, "description": description, "id": prompt_id},
            )
        record(self._store, actor, "prompts.rename", prompt_id, name=name)

    @action
    def archive(self, actor: Actor, prompt_id: str) -> None:
        """Take a prompt off the list; its versions stay readable and it can be restored."""
        self._set_archived(prompt_id, archived=True)
        record(self._store, actor, "prompts.archive", prompt_id)

    @action
    def restore(self, actor: Actor, prompt_id: str) -> None:
        """Undo `archive`; Conflict when the name has been taken since."""
        self._set_archived(prompt_id, archived=False)
        record(self._store, actor, "prompts.restore", prompt_id)

    @action
    def save_version(
        self,
        actor: Actor,
        prompt_id: str,
        *,
        system_template: str,
        user_template: str,
        generation: Generation | None = None,
        message: str = "",
    ) -> Row:
        """The new version, as `version` gives it, with `is_new`.

        The same content as the newest version adds nothing: that version comes back and `is_new`
        is false. Invalid names the template and line that cannot be parsed.
        """
        generation = generation or Generation()
        variables = _variables(system_template, user_template)
        content = {
            "system_template": system_template,
            "user_template": user_template,
            "generation": generation.to_dict(),
        }
        hashed = content_hash(content)
        version_id = new_id("version")
        with self._store.transaction() as connection:
            if self._store.get("prompts", prompt_id, noun="prompt")["archived_at"] is not None:
                raise Conflict("The prompt is archived.", hint="Restore it to add a version.")
            newest = self._newest(prompt_id)
            if newest and newest["content_hash"] == hashed:
                return {**self.version(actor, newest["id"]), "is_new": False}
            number = newest["number"] + 1 if newest else 1
            insert_row(
                connection,
                "prompt_versions",
                {
                    "id": version_id,
                    "prompt_id": prompt_id,
                    "number": number,
                    **content,
                    "generation": json.dumps(content["generation"]),
                    "variables": json.dumps(variables),
                    "message": message.strip(),
                    "content_hash": hashed,
                    "created_by": actor.id,
                    "created_at": utc_now(),
                },
            )
        record(self._store, actor, "prompts.save_version", version_id, number=number)
        return {**self.version(actor, version_id), "is_new": True}

    @action
    def versions(self, actor: Actor, prompt_id: str) -> Rows:
        """Every version of a prompt, newest first, as `version` gives them."""
        self._store.get("prompts", prompt_id, noun="prompt")
        found = self._store.rows(
            _VERSION + " WHERE v.prompt_id = $id ORDER BY v.number DESC", {"id": prompt_id}
        )
        return [_version(row) for row in found]

    @action
    def version(self, actor: Actor, version_id: str) -> Row:
        """One version with `prompt_name`, `label` ('Triage v2'), `variables`, `inner_variables`
        (used only inside sections), `generation` as a dict and `tags`."""
        row = self._store.row(_VERSION + " WHERE v.id = $id", {"id": version_id})
        if row is None:
            raise NotFound(f"There is no prompt version with the id {version_id!r}.")
        return _version(row)

    @action
    def find(self, actor: Actor, reference: str) -> Row:
        """The version that `name`, `name@3` or `name@production` means: newest, number or tag."""
        name, _, which = reference.partition("@")
        prompt = self._store.row(
            "SELECT id FROM prompts WHERE lower(name) = lower($name) AND archived_at IS NULL",
            {"name": name.strip()},
        )
        if prompt is None:
            raise NotFound(f"There is no prompt named {name.strip()!r}.")
        versions: Rows = self.versions(actor, prompt["id"])
        for version in versions:
            if which in ("", str(version["number"]), *version["tags"]):
                return version
        raise NotFound(
            f"The prompt {name.strip()!r} has no version {which!r}."
            if which
            else f"The prompt {name.strip()!r} has no version yet."
        )

    @action
    def tag(self, actor: Actor, prompt_id: str, tag: str, version_id: str) -> None:
        """Point a tag at a version of the prompt; a tag that is elsewhere moves."""
        if not _TAG.fullmatch(tag):
            raise Invalid(
                f"{tag!r} cannot be a tag.",
                field="tag",
                hint="A tag is up to 40 lower-case letters, digits, _ and -, a letter first.",
            )
        if self.version(actor, version_id)["prompt_id"] != prompt_id:
            raise Invalid("That version belongs to another prompt.", field="version_id")
        with self._store.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO prompt_tags VALUES ($prompt, $tag, $version, $by, $at)",
                {
                    "prompt": prompt_id,
                    "tag": tag,
                    "version": version_id,
                    "by": actor.id,
                    "at": utc_now(),
                },
            )
        record(self._store, actor, "prompts.tag", prompt_id, tag=tag, version_id=version_id)

    @action
    def untag(self, actor: Actor, prompt_id: str, tag: str) -> None:
        """Remove a tag; NotFound when the prompt does not have it."""
        if tag not in self._tags().get(prompt_id, {}):
            raise NotFound(f"The prompt has no tag {tag!r}.")
        self._store.execute(
            "DELETE FROM prompt_tags WHERE prompt_id = $id AND tag = $tag",
            {"id": prompt_id, "tag": tag},
        )
        record(self._store, actor, "prompts.untag", prompt_id, tag=tag)

    @action
    def create_samples(self, actor: Actor) -> Rows:
        """The sample prompts' versions, all of them; prompts that are there already stay as
        they are and their versions are not listed."""
        taken = {row["name"].lower() for row in self.list(actor)}
        made: list[Row] = []
        for sample in sample_prompts():
            if sample.name.lower() in taken:
                continue
            prompt_id = self.create(actor, sample.name, description=sample.description)
            made += [
                self.save_version(
                    actor,
                    prompt_id,
                    system_template=version.system_template,
                    user_template=version.user_template,
                    generation=version.generation,
                    message=version.message,
                )
                for version in sample.versions
            ]
        return made

    def _newest(self, prompt_id: str) -> Row | None:
        return self._store.row(
            "SELECT id, number, content_hash FROM prompt_versions WHERE prompt_id = $id"
            " ORDER BY number DESC LIMIT 1",
            {"id": prompt_id},
        )

    def _tags(self) -> dict[str, dict[str, int]]:
        """Prompt id -> tag -> number of the tagged version."""
        tags: dict[str, dict[str, int]] = {}
        for row in self._store.rows(
            "SELECT t.prompt_id, t.tag, v.number FROM prompt_tags t"
            " JOIN prompt_versions v ON v.id = t.version_id ORDER BY t.tag"
        ):
            tags.setdefault(row["prompt_id"], {})[row["tag"]] = row["number"]
        return tags

    def _set_archived(self, prompt_id: str, *, archived: bool) -> None:
        name = self._store.get("prompts", prompt_id, noun="prompt")["name"]
        with self._store.transaction() as connection:
            if not archived:
                _refuse_taken(connection, name, but=prompt_id)
            connection.execute(
                "UPDATE prompts SET archived_at = $at WHERE id = $id",
                {"at": utc_now() if archived else None, "id": prompt_id},
            )


def _checked_name(name: str) -> str:
    name = " ".join(name.split())
    if not 1 <= len(name) <= 120 or "@" in name:
        raise Invalid(
            "A prompt needs a name of 1 to 120 characters without @.",
            field="name",
            hint="The @ is kept for versions, as in 'triage@2'.",
        )
    return name


def _refuse_taken(connection: duckdb.DuckDBPyConnection, name: str, but: str = "") -> None:
    taken = connection.execute(
        "SELECT 1 FROM prompts WHERE lower(name) = lower($name) AND id <> $but"
        " AND archived_at IS NULL",
        {"name": name, "but": but},
    ).fetchone()
    if taken:
        raise Conflict(
            f"There is a prompt named {name!r} already.",
            hint="Choose another name, or add a version to that one.",
        )


def _variables(system_template: str, user_template: str) -> list[str]:
    """The variables of both templates; Invalid says which of them cannot be parsed."""
    if not user_template.strip():
        raise Invalid("The user template is empty.", field="user_template")
    names: dict[str, None] = {}
    for field, text in (("system_template", system_template), ("user_template", user_template)):
        try:
            names |= dict.fromkeys(parse(text).variables)
        except Invalid as error:
            which = field.removesuffix("_template")
            raise Invalid(
                f"In the {which} template: {error.message}",
                field=field,
                title=error.title,
                hint=error.hint,
            ) from None
    return [*names]


def _version(row: Row) -> Row:
    variables = _parsed(row["variables"], [])
    inner = dict.fromkeys(
        name
        for text in (row["system_template"], row["user_template"])
        for name in parse(text).inner_variables
    )
    return {
        **row,
        "label": f"{row['prompt_name']} v{row['number']}",
        "generation": _parsed(row["generation"], {}),
        "variables": variables,
        "inner_variables": [name for name in inner if name not in variables],
    }


def _parsed(text: str | None, default: Any) -> Any:
    return default if text is None else json.loads(text)
