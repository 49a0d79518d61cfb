"""Numbers, times and states as people read them: three significant figures, always a unit.

Knows: rounding, units, words. Does not know: Streamlit, nor where a number comes from.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from core.clock import utc_now

NOTHING = "–"
NOT_ENOUGH = "not enough data"

STATES: dict[str, tuple[str, str]] = {
    # state: (Material icon, colour of st.badge)
    "queued": ("schedule", "gray"),
    "running": ("progress_activity", "blue"),
    "succeeded": ("check_circle", "green"),
    "ok": ("check_circle", "green"),
    "ready": ("check_circle", "green"),
    "starting": ("progress_activity", "blue"),
    "loading": ("progress_activity", "blue"),
    "downloading": ("progress_activity", "blue"),
    "converting": ("progress_activity", "blue"),
    "unloaded": ("radio_button_unchecked", "gray"),
    "failed": ("error", "red"),
    "crashed": ("error", "red"),
    "cancelled": ("block", "gray"),
    "interrupted": ("warning", "orange"),
}


def significant(value: float | None, digits: int = 3) -> str:
    """`1234.5` as `1,230`, `0.012345` as `0.0123`; a dash for None and NaN."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, decimals)
    if rounded != 0:  # 9.996 becomes 10.0, which has one digit more before the point
        decimals = digits - 1 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:,.{max(decimals, 0)}f}".replace("-", "−")


def count(value: int | None) -> str:
    """An exact number with thousands separated."""
    return NOTHING if value is None else f"{value:,}".replace("-", "−")


def roughly(value: int) -> str:
    """A count of which only three digits matter: `32`, `1,230`, `45,600`."""
    return count(value) if abs(value) < 1000 else significant(value)


def plural(value: int, one: str, many: str | None = None) -> str:
    """`1 row`, `2 rows`."""
    return f"{count(value)} {one if value == 1 else many or one + 's'}"


def version_label(row: Mapping[str, Any]) -> str:
    """A version among the others of its dataset: `v2 · 152 rows · 3 h ago`."""
    rows = plural(row["row_count"], "row")
    return f"v{row['number']} · {rows} · {relative(row['created_at'])}"


def milliseconds(value: float | None) -> str:
    """A duration given in ms: `0.45 ms`, `840 ms`, `1.84 s`, `12 min 5 s`."""
    if value is None or math.isnan(value):
        return NOTHING
    if abs(value) < 999.5:  # from there on three figures say 1,000
        return f"{significant(value)} ms"
    return seconds(value / 1000)


def seconds(value: float | None) -> str:
    """A duration given in s: `1.84 s`, `12 min 5 s`, `3 h 20 min`, `2 d 4 h`."""
    if value is None or math.isnan(value):
        return NOTHING
    if value == 0:
        return "0 s"
    if abs(value) < 0.9995:
        return milliseconds(value * 1000)
    if abs(value) < 99.95:
        return f"{significant(value)} s"
    whole = round(value)
    for size, unit, small, small_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            return _pair(whole // size, unit, whole % size // small, small_unit)
    return _pair(whole // 60, "min", whole % 60, "s")


def about(seconds: float) -> str:
    """A rough duration in words."""
    if seconds < 50:
        return f"about {max(5, math.ceil(seconds / 5) * 5)} s"
    if seconds < 5_400:
        return f"about {max(1, round(seconds / 60))} min"
    return f"about {seconds / 3_600:.1f} h"


def size(byte_count: float | None) -> str:
    """Bytes in powers of 1,000: `93.4 MB`, `1.20 GB`."""
    if byte_count is None or math.isnan(byte_count):
        return NOTHING
    for unit in ("B", "kB", "MB", "GB"):
        if abs(byte_count) < 999.5:
            return f"{significant(byte_count) if unit != 'B' else count(int(byte_count))} {unit}"
        byte_count /= 1000
    return f"{significant(byte_count)} TB"


def rate(value: float | None, unit: str = "tok/s") -> str:
    """`42.0 tok/s`."""
    return NOTHING if value is None else f"{significant(value)} {unit}"


def percent(share: float | None) -> str:
    """A share between 0 and 1 as `73.5 %`."""
    return NOTHING if share is None or math.isnan(share) else f"{share * 100:.1f} %"


def percent_interval(share: float | None, low: float | None, high: float | None) -> str:
    """A share with its interval, `73.5 % [68, 78]`; say n beside it."""
    if share is None or low is None or high is None:
        return NOT_ENOUGH
    return f"{percent(share)} [{low * 100:.0f}, {high * 100:.0f}]"


def relative(moment: datetime | None, now: datetime | None = None) -> str:
    """`just now`, `5 min ago`, `in 2 h`, `3 d ago`; naive values are UTC."""
    if moment is None:
        return NOTHING
    delta = ((now or utc_now()) - moment).total_seconds()
    amount = abs(delta)
    if amount < 45:
        return "just now" if delta >= 0 else "in a moment"
    for limit, unit_s, unit in (
        (3570, 60, "min"),
        (84600, 3600, "h"),
        (30 * 86400, 86400, "d"),
        (360 * 86400, 30 * 86400, "mo"),
        (math.inf, 365 * 86400, "y"),
    ):
        if amount < limit:
            number = f"{max(1, round(amount / unit_s))} {unit}"
            break
    return f"{number} ago" if delta >= 0 else f"in {number}"


def absolute(moment: datetime | None) -> str:
    """`2026-03-01 14:05:09 UTC`: what hovering over a relative time shows."""
    return NOTHING if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def state(name: str) -> str:
    """A state as icon and word, in Markdown: `:material/check_circle: succeeded`."""
    icon, _ = STATES.get(name, ("help", "gray"))
    return f":material/{icon}: {name}"


def state_badge(name: str) -> str:
    """A state as a coloured Markdown badge with icon and word."""
    icon, colour = STATES.get(name, ("help", "gray"))
    return f":{colour}-badge[:material/{icon}: {name}]"


def escape(text: str) -> str:
    """Text that Markdown shows as it is: for names and messages that people typed."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()#+-.!|~$:<>" else c for c in text)


def code(text: str) -> str:
    """Text as one line of code in Markdown, as it is: there `escape` would show its backslashes."""
    line = " ".join(text.split()) or " "
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    pad = " " if line[0] == "`" or line[-1] == "`" else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def shorten(text: str | None, length: int = 120) -> str:
    """One line of at most `length` characters."""
    line = " ".join((text or "").split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _pair(big: int, unit: str, small: int, small_unit: str) -> str:
    return f"{big} {unit} {small} {small_unit}" if small else f"{big} {unit}"
