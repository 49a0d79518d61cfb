"""Identifiers: sortable ids for rows, content hashes for immutable things.

Knows: how ids are made. Does not know: what they name.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from typing import Any

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32, lower case


def new_id(prefix: str) -> str:
    """A unique id that sorts by time of making: `prefix_` + 10 time and 12 random characters.

    48 bits of milliseconds and 60 random bits, as in ULID (https://github.com/ulid/spec).
    """
    value = (time.time_ns() // 1_000_000) << 60 | secrets.randbits(60)
    digits = []
    for _ in range(22):
        value, digit = divmod(value, 32)
        digits.append(_ALPHABET[digit])
    return f"{prefix}_{''.join(reversed(digits))}"


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def content_hash(value: Any) -> str:
    """sha256 of the canonical JSON, in hex: the address of an immutable thing."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
