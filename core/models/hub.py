"""The model hub: a pinned revision of a repository, downloaded when the settings allow it.

Knows: huggingface_hub. Does not know: what is in the files; nothing downloaded is trusted.
"""

from __future__ import annotations

import os
from pathlib import Path

from core.errors import Forbidden, Upstream

WANTED = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "LICENSE*", "README.md"]
"""Never *.bin or *.py: no pickles, no code."""


def download(hub_id: str, revision: str, folder: Path, *, names: list[str] | None = None) -> None:
    """Fetch a revision's files into `folder`; raises Upstream when the hub does not give them."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        snapshot_download(
            hub_id, revision=revision, local_dir=folder, allow_patterns=names or WANTED
        )
    except OfflineModeIsEnabled:
        raise refused(hub_id) from None
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise Upstream(
            f"{hub_id} at {revision[:12]} could not be downloaded: {_first_line(error)}",
            title="The model hub did not give the model",
            hint="Check the id and the commit, and that this machine reaches the hub.",
        ) from error
    _drop_bookkeeping(folder)


def refused(hub_id: str) -> Forbidden:
    """Why nothing is downloaded here."""
    return Forbidden(
        f"Lathe is set to work offline, so {hub_id} is not downloaded.",
        title="Downloads are off",
        hint="Start it with LATHE_OFFLINE=0 and without HF_HUB_OFFLINE, or add a local folder.",
    )


def allowed(*, offline: bool) -> bool:
    """Whether a download may be tried at all."""
    return not offline and os.environ.get("HF_HUB_OFFLINE", "0") in ("", "0")


def _drop_bookkeeping(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder / ".cache", ignore_errors=True)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
