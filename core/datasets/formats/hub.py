"""A dataset on the Hugging Face hub, streamed through the `datasets` package.

Knows: hub ids, the refusal where this machine works offline. Does not know: scripts; a dataset
that needs code of its own to be read is refused (`trust_remote_code` is never given).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from core.datasets.records import Record, checked_columns
from core.datasets.values import plain
from core.errors import Forbidden, Invalid, LatheError, Upstream

PREFIX = "hf://"
_ID = re.compile(r"(?:[\w][\w.-]{0,95}/)?[\w][\w.-]{0,95}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Hub:
    """A reader of a dataset on the hub."""

    hub_id: str
    config: str | None = None
    split: str | None = None
    """None: every split one after another, with the column `split`."""
    revision: str | None = None

    def columns(self) -> list[str]:
        """The columns that the dataset declares; none where it declares none."""
        splits = self._splits()
        names = list(next(iter(splits.values())).column_names or [])
        more = ["split"] if names and len(splits) > 1 and "split" not in names else []
        return checked_columns([*map(str, names), *more])

    def records(self) -> Iterator[Record]:
        """Rows as they arrive."""
        splits, index = self._splits(), 0
        try:
            for name, rows in splits.items():
                extra = {"split": str(name)} if len(splits) > 1 else {}
                for row in rows:
                    values = {str(key): plain(value) for key, value in row.items()}
                    yield Record(index, None, {**values, **extra})
                    index += 1
        except LatheError:
            raise
        except Exception as error:  # the package raises anything, from any of its own
            raise _failed(self.hub_id, error) from None

    def _splits(self) -> dict[str, Any]:
        if not _ID.fullmatch(self.hub_id) or ".." in self.hub_id:
            raise Invalid(
                f"{self.hub_id[:200]!r} is not the id of a dataset.",
                field="file",
                hint="An id looks like owner/name.",
            )
        if offline():
            raise Forbidden(
                f"Lathe is set to work offline, so {self.hub_id} is not downloaded.",
                title="Downloads are off",
                hint="Start it with LATHE_OFFLINE=0 and without HF_HUB_OFFLINE, or import a folder"
                " that save_to_disk wrote.",
            )
        import datasets

        try:
            found = datasets.load_dataset(
                self.hub_id, self.config, split=self.split, revision=self.revision, streaming=True
            )
        except Exception as error:  # see above
            raise _failed(self.hub_id, error) from None
        return dict(found) if isinstance(found, dict) else {self.split or "train": found}


def offline() -> bool:
    """Whether downloads are refused before any is tried: by the settings or the environment."""
    from core.settings import Settings

    return Settings.from_env().offline or os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0")


def _failed(hub_id: str, error: Exception) -> Upstream:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
    return Upstream(
        f"{hub_id} could not be read: {first}",
        title="The hub did not give the dataset",
        hint="Check the id, and that this machine reaches the hub.",
    )
