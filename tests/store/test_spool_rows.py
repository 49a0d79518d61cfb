"""Rows that belong together reach the spool together."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.store.spool import SpoolWriter, read_rows

ROWS = st.lists(
    st.tuples(st.sampled_from(["traces", "spans"]), st.dictionaries(st.text(), st.text())),
    max_size=5,
)


@given(st.lists(ROWS, max_size=5))
def test_what_is_written_together_is_read_back_in_order(
    tmp_path_factory: pytest.TempPathFactory, groups: list[list[tuple[str, dict[str, str]]]]
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    writer = SpoolWriter(folder, segment_bytes=200)  # so small that groups meet its end
    for group in groups:
        writer.write_all(group)
    writer.close()
    assert read_rows(folder) == [row for group in groups for row in group]


def test_a_full_disk_keeps_all_of_a_group_or_nothing(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path)
    writer.write("traces", {"id": "first"})
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = next(tmp_path.glob("*.ndjson")).stat().st_size
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 60, limits[1]))  # as a full disk does
        with pytest.raises(OSError, match=r"space|large"):
            writer.write_all([("traces", {"id": "x" * 20}), ("spans", {"id": "y" * 40})])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    writer.write_all([("traces", {"id": "after"})])
    writer.close()
    assert [row["id"] for _, row in read_rows(tmp_path)] == ["first", "after"]
