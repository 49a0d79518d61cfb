"""Embedding in a model's own process: for the app, which loads no model itself.

Knows: which registered model lies in a folder, how it is asked. Does not know: what for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import ModelUnavailable
from core.governance.permissions import Actor, permits
from core.models import client
from core.models.service import Models
from core.store.database import Row

if TYPE_CHECKING:
    import numpy as np


def registered(models: Models, actor: Actor, folder: Path) -> Row | None:
    """The embedding model of the registry that lies there; the starter is registered if need be.

    The starter of the cache is the one of the home: same name, same hash.
    """
    for again in (False, True):
        if again and permits(actor.role, "models.write"):
            models.register_starter(actor)
        for row in models.list(actor, kind="embedding"):
            known = Path(row["path"] or "")
            starter = row["source"] == "starter" and known.name == folder.name
            if starter or known.resolve() == folder.resolve():
                return row
    return None


def encoder(
    models: Models, actor: Actor, folder: Path
) -> Callable[[Sequence[str]], np.ndarray[Any, Any]]:
    """A function from texts to unit vectors (n, size) float32 that asks the model's worker.

    The worker is started at the first call. ModelUnavailable where the model is not registered.
    """

    def encode(texts: Sequence[str]) -> np.ndarray[Any, Any]:
        import numpy as np

        row = registered(models, actor, folder)
        if row is None:
            raise ModelUnavailable(
                f"The embedding model {folder.name} is not registered.",
                hint="Add it on the Models page.",
            )
        endpoint = models.endpoint(actor, models.resolve(actor, row["id"]))
        return np.asarray(client.embed(endpoint, texts), dtype=np.float32)

    return encode
