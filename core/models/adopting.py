"""Taking an adapter into the registry: copied whole into the home first, then listed.

Knows: which base it is for, its place and its row. Does not know: who may, how it was trained.
A crash in between leaves a folder that nobody lists; the next adoption sweeps it away.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.clock import utc_now
from core.errors import Conflict, Invalid, NotFound
from core.ids import new_id
from core.models import adapters, checkpoint, convert
from core.models.registry import Registry
from core.store.database import Row, Store

_BASE_FACTS = ("path", "license", "architecture", "parameter_count", "weight_bytes",
               "context_length", "revision")  # fmt: skip
_OF_A_GGUF = ("gguf_type", "gguf_bytes")


class Adopting:
    """The way in for adapters, one at a time."""

    def __init__(self, registry: Registry, store: Store, home: Path) -> None:
        self._registry = registry
        self._store = store
        self._root = home / "models"
        self._guard = threading.Lock()

    def trained(
        self, user_id: str, name: str, base_model_id: str, folder: Path, details: Mapping[str, Any]
    ) -> str:
        """Take in what a fine-tune made; again gives the same id. A taken name gets a number.

        Raises Invalid when the folder is not a whole adapter of the base.
        """
        finetune_id = str(details["finetune_id"])
        with self._guard:
            known = self._store.row(
                "SELECT id FROM models WHERE details->>'finetune_id' = $id ORDER BY id LIMIT 1",
                {"id": finetune_id},
            )
            if known is not None:
                return str(known["id"])
            base = self.base(base_model_id)
            # the id follows from the fine-tune's: what a crash left half done is gone on with
            model_id = f"model_{finetune_id.partition('_')[2] or finetune_id}"
            self._take_in(model_id, user_id, self._free(name), base, folder, folder, details)
        return model_id

    def given(self, user_id: str, name: str, base: str, location: str) -> str:
        """Take in an adapter that was trained elsewhere, for a base by its name or id."""
        folder = Path(location).expanduser().resolve()
        with self._guard:
            model_id = new_id("model")
            self._take_in(model_id, user_id, name, self.base(base), folder, folder, {})
        return model_id

    def base(self, name: str) -> Row:
        """The model an adapter can be laid over, by id or name; Invalid says why it cannot."""
        if not (name or "").strip():
            raise Invalid(
                "Say which model the adapter was trained on.", field="base",
                hint="A model's name or id.",
            )  # fmt: skip
        rows = self._registry.rows(kind=None, archived=True)
        found = [row for row in rows if row["id"] == name] or [
            row
            for row in rows
            if row["name"].lower() == name.strip().lower() and row["archived_at"] is None
        ]
        if not found:
            raise Invalid(
                f"There is no model {name!r}.", field="base",
                hint="Add the model that the adapter was trained on first.",
            )  # fmt: skip
        row = found[0]
        why = _why_no_base(row)
        if why:
            raise Invalid(f"{row['name']} {why}", field="base")
        return row

    def _free(self, name: str) -> str:
        """The name, or with the first free number: "name (2)"."""
        taken = {row["name"].lower() for row in self._registry.rows(kind=None, archived=False)}
        number, free = 1, name
        while free.lower() in taken:
            number += 1
            free = f"{name} ({number})"
        return free

    def _take_in(
        self,
        model_id: str,
        user_id: str,
        name: str,
        base: Row,
        folder: Path,
        location: Path,
        details: Mapping[str, Any],
    ) -> None:
        self._sweep(keep=model_id)
        found = adapters.read(folder, Path(base["path"]))
        target = self._root / model_id / adapters.FOLDER
        adapters.copy(folder, target)
        adapters.read(target, Path(base["path"]))
        digest = checkpoint.sha256_of([target / adapters.WEIGHTS])
        sizes = {k: v for k, v in base["details"].items() if k not in _OF_A_GGUF}
        try:
            self._registry.add(
                {
                    **{fact: base[fact] for fact in _BASE_FACTS},
                    "id": model_id,
                    "name": name,
                    "kind": "chat",
                    "source": "adapter",
                    "location": str(location),
                    "sha256": digest,
                    "base_model_id": base["id"],
                    "adapter_path": str(target),
                    "details": {
                        **sizes,
                        **found.details,
                        "base_sha256": base["sha256"],
                        **details,
                    },
                    "created_by": user_id,
                    "created_at": utc_now(),
                }
            )
        except (Conflict, Invalid, NotFound):
            shutil.rmtree(target.parent, ignore_errors=True)
            raise

    def _sweep(self, *, keep: str) -> None:
        """Remove what crashed adoptions left; the guard is held, so none is on its way."""
        for folder in self._root.glob(f"*/.{adapters.FOLDER}.*.partial"):
            convert.sweep(folder.parent)
        for folder in self._root.glob(f"*/{adapters.FOLDER}"):
            model_id = folder.parent.name
            if model_id != keep and not self._registry.has(model_id):
                shutil.rmtree(folder.parent, ignore_errors=True)


def _why_no_base(row: Row) -> str | None:
    if row["archived_at"] is not None:
        return "is archived."
    if row["source"] == "adapter":
        return "is an adapter itself: export it merged and add that folder as a model first."
    if row["kind"] != "chat":
        return "is no chat model."
    if row["source"] in ("endpoint", "scripted"):
        return "has no weights here."
    if not row["path"]:
        return "has no safetensors yet: convert or download it first."
    return None
