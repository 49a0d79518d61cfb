"""Which model classes the installed transformers has, asked in a process of its own.

Knows: the names. Does not know: files. `python -m core.models.architectures` prints them as
JSON: importing transformers would cost the app process 240 MB for a list of words.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys

from core.errors import LatheError
from core.settings import PROJECT_ROOT

CHAT, EMBEDDING = "chat", "embedding"


@functools.lru_cache(maxsize=1)
def known() -> dict[str, frozenset[str]]:
    """Class names by the kind of model they can serve; takes some seconds the first time."""
    done = subprocess.run(
        [sys.executable, "-m", "core.models.architectures"],
        capture_output=True,
        text=True,
        cwd=PROJECT_ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"},
    )
    if done.returncode != 0:
        raise LatheError(
            f"transformers could not be asked for its models: {done.stderr.strip()[-500:]}",
            title="The installation is incomplete",
            hint="Run `lathe doctor`.",
        )
    return {kind: frozenset(names) for kind, names in json.loads(done.stdout).items()}


def _print() -> None:
    from transformers.models.auto import modeling_auto as auto

    json.dump(
        {
            CHAT: sorted(auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()),
            EMBEDDING: sorted(_flat(auto.MODEL_MAPPING_NAMES.values())),
        },
        sys.stdout,
    )


def _flat(names: object) -> set[str]:
    found: set[str] = set()
    for name in names:  # type: ignore[attr-defined]
        found.update([name] if isinstance(name, str) else name)
    return found


if __name__ == "__main__":
    _print()
