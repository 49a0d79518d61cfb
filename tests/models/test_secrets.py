"""Keys: in one file of its owner's, good for one host."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from core.errors import Invalid
from core.models import secrets

URL = "https://api.example.com/v1"


def test_a_key_is_kept_for_its_host_in_a_file_nobody_else_reads(home: Path) -> None:
    secrets.write(home, "model_1", "sk-1", URL)
    assert secrets.read(home, "model_1") == "sk-1"
    assert secrets.read(home, "model_1", "https://API.example.com/other") == "sk-1"
    assert stat.S_IMODE((home / "secrets" / "model_1.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "other", ["https://evil.example.com/v1", "http://api.example.com/v1", f"{URL[:-3]}:444/v1"]
)
def test_another_host_scheme_or_port_gets_no_key(home: Path, other: str) -> None:
    secrets.write(home, "model_1", "sk-1", URL)
    assert secrets.read(home, "model_1", other) == ""


def test_cleared_and_never_written_are_the_same(home: Path) -> None:
    secrets.write(home, "model_1", "sk-1", URL)
    secrets.clear(home, "model_1")
    secrets.clear(home, "model_2")
    assert secrets.read(home, "model_1") == secrets.read(home, "model_2") == ""
    assert not secrets.has(home, "model_1")


def test_an_id_cannot_lead_out_of_the_folder(home: Path) -> None:
    with pytest.raises(Invalid):
        secrets.write(home, "../../x", "sk", URL)
