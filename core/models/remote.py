"""Asking an OpenAI-compatible endpoint which models it has.

Knows: GET /models and what goes wrong with it. Does not know: the registry.
"""

from __future__ import annotations

import time
from typing import Any

from core.errors import Upstream

TIMEOUT_S = 10


def check(base_url: str, key: str, model: str) -> dict[str, Any]:
    """{models, latency_ms, has_model}; Upstream when it does not answer as such endpoints do."""
    import httpx

    began = time.perf_counter()
    try:
        answer = httpx.get(
            f"{base_url}/models",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=TIMEOUT_S,
        )
        answer.raise_for_status()
        names = [str(entry["id"]) for entry in answer.json()["data"]]
    except httpx.HTTPStatusError as error:
        raise Upstream(
            f"{base_url} answered {error.response.status_code}.",
            hint="401 and 403 mean the key; 404 mostly a missing /v1 in the address.",
        ) from None
    except httpx.HTTPError as error:
        raise Upstream(
            f"{base_url} could not be reached: {error}.", hint="Is it running, and from here?"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise Upstream(f"{base_url}/models gave no list of models.") from None
    took_ms = (time.perf_counter() - began) * 1000
    return {"models": names, "latency_ms": took_ms, "has_model": model in names}
