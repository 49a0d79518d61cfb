"""`lathe datasets import`: the mapping in words, here and through an app, small and large."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.cli_import import import_file, mapped
from app.remote import Remote, open_workbench
from core.errors import Invalid
from core.settings import Settings
from core.workbench import OWNER
from tests.datasets.test_databases import PASSWORD, postgres, prepared  # noqa: F401  # a fixture
from tests.running import running_app

GUESS = {
    "text": {"role": "input", "name": "text", "optional": False},
    "label": {"role": "expected", "name": "label", "optional": False},
    "note": {"role": "metadata", "name": "note", "optional": False},
}


def roles(*maps: str, inputs: tuple[str, ...] = (), expected: str | None = None) -> Any:
    found = mapped(GUESS, "rows.csv", inputs, expected, maps)
    return {name: (asked["role"], asked["name"]) for name, asked in found.items()}


def test_map_renames_a_column_gives_it_a_role_or_both() -> None:
    assert roles("text=question")["text"] == ("input", "question")
    assert roles("note=input:hint")["note"] == ("input", "hint")
    assert roles("note=ignore")["note"] == ("ignore", "note")
    assert roles("note=expected") == {
        "text": ("input", "text"), "label": ("metadata", "label"), "note": ("expected", "note"),
    }  # fmt: skip
    assert roles(expected="note", inputs=("label",))["text"] == ("metadata", "text")
    with pytest.raises(Invalid, match="no column 'nothing'"):
        roles("nothing=x")
    with pytest.raises(Invalid, match="needs no name"):
        roles("note=ignore:x")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "my_rows.csv"
    path.write_text("text,label,note\na,x,1\nb,y,2\n")
    return path


def lathe(home: Path, *words: str) -> Result:
    return CliRunner().invoke(main, list(words), env={"LATHE_HOME": str(home)})


def test_a_file_is_imported_from_the_shell(home: Path, rows: Path) -> None:
    told = ("datasets", "import", str(rows), "--name", "Rows", "--map", "text=question")
    made = lathe(home, *told, "--map", "note=ignore", "--json")
    assert made.exit_code == 0, made.stderr
    version = json.loads(made.output)
    assert (version["number"], version["inputs"], version["expected"]) == (1, ["question"], "label")
    assert [column["name"] for column in version["columns"]] == ["question", "label"]
    rows.write_text(rows.read_text() + "c,z,3\n")
    assert "3 rows as version 2" in lathe(home, *told).output
    rows.write_text(rows.read_text() + "d,z,3\n")
    waits = lathe(home, *told, "--stage", "--json")
    assert waits.exit_code == 0, waits.stderr
    assert json.loads(waits.output)["diff"]["counts"]["added"] == 1
    assert len(json.loads(lathe(home, "datasets", "list", "--json").output)) == 1
    wrong = lathe(home, "datasets", "import", str(rows), "--map", "text")
    assert (wrong.exit_code, "--map takes NAME=VALUE" in wrong.stderr) == (2, True)
    assert lathe(home, *told, "--option", "delimiter=;").exit_code == 1


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    with running_app(tmp_path_factory.mktemp("import") / "home") as app:
        opened = open_workbench(Settings(home=app.home))
        assert isinstance(opened, Remote)
        with opened:
            yield opened


def test_the_running_app_takes_a_small_file_and_reads_a_large_one(
    remote: Remote, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = import_file(remote, rows, name="Through the app")
    assert (first["number"], first["row_count"]) == (1, 2)
    monkeypatch.setattr("app.cli_import.SMALL_BYTES", 10)
    rows.write_text(rows.read_text() + "c,z,3\n")
    second = import_file(remote, rows, name="Through the app", maps=["note=ignore"])
    assert (second["number"], second["row_count"]) == (2, 3)
    rows.write_text(rows.read_text() + "too,many,cells,here\n")
    with pytest.raises(Invalid) as caught:
        import_file(remote, rows, name="Through the app")
    assert caught.value.row == 3
    assert len(remote.datasets.versions(OWNER, first["dataset_id"])) == 2


def shop(path: Path) -> Path:
    import sqlite3

    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE tickets (q TEXT, label TEXT, closed INTEGER)")
        connection.execute("CREATE TABLE other (x TEXT)")
        connection.executemany(
            "INSERT INTO tickets VALUES (?, ?, ?)", [("a", "x", 1), ("b", "y", 0), ("c", "x", 1)]
        )
    connection.close()
    return path


def test_a_query_on_a_database_file_is_imported(home: Path, tmp_path: Path) -> None:
    told = ("--sql", "SELECT q, label FROM tickets WHERE closed;", "--name", "Closed", "--json")
    path = str(shop(tmp_path / "shop.db"))
    for words in ((path, *told), ("--from", path, *told)):
        made = lathe(home, "datasets", "import", *words)
        assert made.exit_code == 0, made.stderr
        version = json.loads(made.output)
        assert (version["row_count"], version["expected"], version["number"]) == (2, "label", 1)
    assert "2 tables" in lathe(home, "datasets", "import", path).stderr


def test_a_folder_of_save_to_disk_is_imported(home: Path, tmp_path: Path) -> None:
    import datasets

    parts = {
        name: datasets.Dataset.from_dict({"text": [f"{name} {n}" for n in range(3)]})
        for name in ("train", "test")
    }
    folder = tmp_path / "saved"
    datasets.DatasetDict(parts).save_to_disk(str(folder))
    made = lathe(home, "datasets", "import", str(folder), "--json")
    assert made.exit_code == 0, made.stderr
    version = json.loads(made.output)
    assert (version["dataset_name"], version["row_count"]) == ("saved", 6)
    assert [column["name"] for column in version["columns"]] == ["text", "split"]


def test_the_hub_is_refused_offline_and_one_source_is_asked_for(
    home: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for hub_id in ("owner/name", "hf://owner/name"):
        refused = lathe(home, "datasets", "import", "--hub", hub_id, "--option", "split=train")
        assert refused.exit_code == 1
        assert "Downloads are off" in refused.stderr
    wrong = lathe(home, "datasets", "import", "--hub", "a b/c d/e")
    assert "is not the id of a dataset" in wrong.stderr
    for words in ((), (str(rows), "--hub", "a/b"), ("--from", "nothing.db", "--hub", "a/b")):
        assert "Give one of FILE" in lathe(home, "datasets", "import", *words).stderr


def test_a_database_is_asked_with_a_password_that_no_message_repeats(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "s3cret-w0rd"
    for location in (
        f"postgresql://me:{secret}@127.0.0.1:1/shop",
        f"postgresql://me:{secret} x@h/shop",
        f"postgres://me:{secret}@h/shop?service=x",
        f"mysql://me:{secret}@h/shop",
        f"host=h password={secret}",
    ):
        for words in (("--sql", "SELECT 1 AS q"), ()):
            refused = lathe(home, "datasets", "import", "--from", location, *words)
            assert refused.exit_code in (1, 2)
            assert secret not in refused.output + refused.stderr
    monkeypatch.setenv("LATHE_DB_PASSWORD", secret)
    at = ("--from", "postgresql://me@127.0.0.1:1/shop", "--sql", "SELECT 1 AS q")
    refused = lathe(home, "datasets", "import", *at)
    assert "Postgres did not answer" in refused.stderr
    assert secret not in refused.stderr


def test_a_query_on_postgres_is_imported(
    home: Path,
    postgres: dict[str, Any],  # noqa: F811  # the fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LATHE_DB_PASSWORD", PASSWORD)
    told = ("--from", prepared(postgres), "--sql", "SELECT q, n FROM t WHERE n < 9", "--json")
    made = lathe(home, "datasets", "import", *told, "--name", "Server")
    assert made.exit_code == 0, made.stderr
    assert json.loads(made.output)["row_count"] == 9
    assert PASSWORD not in made.output
