"""Which files may be imported: uploads, and paths that people name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.datasets import import_job
from core.datasets.uploads import ANYWHERE, FOLDER, drop_upload, keep_upload, readable, sweep
from core.errors import Forbidden, Invalid, NotFound
from core.governance.permissions import OWNER
from core.settings import Settings
from core.workbench import Workbench
from tests.datasets.test_import_job import (
    ADMIN,
    ENGINEER,
    MAPPING,
    begin,
    context,
    done,
    rows_file,
)


@pytest.fixture
def settings(home: Path, tmp_path: Path) -> Settings:
    return Settings(home=home, import_folders=(tmp_path,))


@pytest.fixture
def stepped(settings: Settings) -> Iterator[Workbench]:
    with Workbench.open(settings, background=False) as opened:
        yield opened


def test_an_upload_is_put_down_in_the_home_and_goes_when_it_is_imported(
    workbench: Workbench, tmp_path: Path, home: Path
) -> None:
    with rows_file(tmp_path / "rows.jsonl", 5).open("rb") as file:
        path = workbench.datasets.keep_upload(ENGINEER, "../a/rows.jsonl", file)
    assert Path(path).is_relative_to(home / FOLDER)
    assert workbench.datasets.preview(ENGINEER, "rows.jsonl", path)["row_count"] == 5
    assert done(workbench, begin(workbench, Path(path)))["version"]["row_count"] == 5
    assert list((home / FOLDER).iterdir()) == []
    kept = keep_upload(home, "x.csv", b"a\n1\n")  # type: ignore[arg-type]
    os.utime(kept.parent, (0, 0))
    sweep(home)
    assert not kept.exists()


def test_only_data_files_outside_of_the_workspace_are_read(tmp_path: Path, home: Path) -> None:
    for name in ("home/lathe.csv", ".ssh/keys.csv", "ok/rows.csv", "ok/passwd", "ok/.hidden.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a\n1\n")
    assert readable(home, tmp_path / "ok" / "rows.csv", ANYWHERE).name == "rows.csv"
    assert readable(home, tmp_path / "ok", ANYWHERE).is_dir()
    for name in ("home/lathe.csv", ".ssh/keys.csv", "ok/.hidden.csv"):
        with pytest.raises(Forbidden):
            readable(home, tmp_path / name, ANYWHERE)
    (tmp_path / "ok" / "link.csv").symlink_to(home / "lathe.csv")
    with pytest.raises(Forbidden):
        readable(home, tmp_path / "ok" / "link.csv", ANYWHERE)
    with pytest.raises(Invalid, match="does not end as"):
        readable(home, tmp_path / "ok" / "passwd", ANYWHERE)
    with pytest.raises(Invalid, match="whole path"):
        readable(home, "rows.csv", ANYWHERE)
    with pytest.raises(NotFound):
        readable(home, tmp_path / "none.csv", ANYWHERE)
    assert readable(home, tmp_path / "ok" / "passwd", ANYWHERE, trusted=True).exists()
    (tmp_path / "home" / "card.json").write_text('[{"token": 1}]')
    for around in (tmp_path, tmp_path / "home", Path("/")):  # a folder is read with all below it
        with pytest.raises(Forbidden, match="workspace itself"):
            readable(home, around, ANYWHERE)


def test_an_admin_names_any_path_and_others_those_of_the_folders_that_are_set(
    tmp_path: Path, home: Path
) -> None:
    inner, outer = tmp_path / "shared", tmp_path / "private"
    for folder in (inner, outer):
        folder.mkdir()
        rows_file(folder / "rows.jsonl", 3)
    (inner / "out.jsonl").symlink_to(outer / "rows.jsonl")
    (inner / "way").symlink_to(outer)
    (tmp_path / "door").symlink_to(inner)
    (inner / ".keys.jsonl").write_text("{}\n")
    refused = [
        outer / "rows.jsonl", outer, inner / "out.jsonl", inner / "way" / "rows.jsonl",
        inner / ".." / "private" / "rows.jsonl", inner / ".keys.jsonl", outer / "none.jsonl",
        home / "lathe.duckdb", tmp_path,
    ]  # fmt: skip
    asked: dict[str, Any] = {"dataset": "X", "mapping": MAPPING}
    settings = Settings(home=home, import_folders=(tmp_path / "door",))
    with Workbench.open(settings, background=False) as opened:
        datasets = opened.datasets
        assert datasets.import_folders(ENGINEER) == [str(tmp_path / "door")]
        assert datasets.import_folders(ADMIN) == datasets.import_folders(OWNER) == ["/"]
        for found in (inner / "rows.jsonl", tmp_path / "door" / "rows.jsonl"):
            assert datasets.preview(ENGINEER, "rows.jsonl", str(found))["row_count"] == 3
            assert datasets.start_import(ENGINEER, str(found), **asked)
        for found in refused:
            for act in (
                lambda found=found: datasets.preview(ENGINEER, "rows.jsonl", str(found)),
                lambda found=found: datasets.start_import(ENGINEER, str(found), **asked),
                lambda found=found: datasets.import_rows(
                    ENGINEER, name="X", filename="rows.jsonl", data=str(found), mapping=MAPPING
                ),
            ):
                with pytest.raises(Forbidden):
                    act()
        assert datasets.preview(ADMIN, "rows.jsonl", str(outer / "rows.jsonl"))["row_count"] == 3
        assert datasets.start_import(ADMIN, str(outer / "rows.jsonl"), **asked)
        for found in (home / "lathe.duckdb", inner / ".keys.jsonl"):
            with pytest.raises(Forbidden):
                datasets.preview(ADMIN, "rows.jsonl", str(found))


def test_the_folders_are_whole_paths_separated_as_in_path() -> None:
    def of(text: str) -> tuple[Path, ...]:
        return Settings.from_env({"LATHE_IMPORT_FOLDERS": text}).import_folders

    assert of("") == of(os.pathsep) == ()
    assert of(os.pathsep.join(["/data/a b", "~/shared"])) == (
        Path("/data/a b"), Path.home() / "shared",
    )  # fmt: skip
    with pytest.raises(Invalid, match="whole paths"):
        of("data")


def test_without_a_setting_an_engineer_names_no_path_but_an_upload(
    home: Path, tmp_path: Path
) -> None:
    path = rows_file(tmp_path / "rows.jsonl", 2)
    with Workbench.open(Settings(home=home), background=False) as opened:
        assert opened.datasets.import_folders(ENGINEER) == []
        with pytest.raises(Forbidden, match="not in a folder"):
            opened.datasets.preview(ENGINEER, path.name, str(path))
        kept = opened.datasets.keep_upload(ENGINEER, path.name, path.read_bytes())
        assert opened.datasets.preview(ENGINEER, path.name, kept)["row_count"] == 2


def test_a_file_that_became_a_link_while_it_waited_is_not_followed(
    stepped: Workbench, tmp_path: Path
) -> None:
    path = rows_file(tmp_path / "rows.jsonl", 2)
    job = context(stepped, begin(stepped, path))
    path.rename(tmp_path / "moved.jsonl")
    path.symlink_to(tmp_path / "moved.jsonl")
    with pytest.raises(Invalid, match="become a link"):
        import_job.work(job)


def test_an_upload_goes_also_where_the_home_is_a_link(home: Path, tmp_path: Path) -> None:
    home.mkdir()
    (tmp_path / "link").symlink_to(home)
    path = keep_upload(tmp_path / "link", "x.csv", b"a\n1\n").resolve()
    drop_upload(tmp_path / "link", path)
    assert not path.parent.exists()
