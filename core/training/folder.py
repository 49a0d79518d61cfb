"""The folder of one training: all that it takes and all that it tells, in files.

    config.json       what is asked; written last, so a folder that has it is whole
    train.py          starts the script; lathe_train/ is a copy of it
    data/             train.jsonl and eval.jsonl, a row a line
    launch/           how several GPUs, machines or a Ray cluster train it
    checkpoints/      checkpoint-N, complete with its complete.json
    adapter/          the outcome, whole or not there
    events.ndjson     what happens, a line each
    result.json       how it ended
    stop              its existence asks the script to save and end
    lock              an flock held while a process trains

Knows: these names, how each is read. Does not know: rows, models, jobs; nothing here needs Lathe
to train: `python train.py` in the folder does.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from core.store.files import is_locked, read_json, read_lines, write_atomic, write_json

FORMAT = 1
SUCCEEDED, STOPPED, FAILED, TAKEN = 0, 3, 1, 4
"""The exit codes of train.py; TAKEN: another process holds the lock."""
_SCRIPT = Path(__file__).parent / "script"
_TRAIN = '''"""Trains what config.json asks for, here: python train.py --help."""

import sys

from lathe_train.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
'''
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


class RunFolder:
    """The files of one training; any process may look, the job and its script write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.train_path = path / "data" / "train.jsonl"
        self.eval_path = path / "data" / "eval.jsonl"
        self.events_path = path / "events.ndjson"
        self.adapter_path = path / "adapter"
        self._result = path / "result.json"
        self._stop = path / "stop"

    def ready(self) -> bool:
        """Whether everything that a training takes is there."""
        return (self.path / "config.json").is_file()

    def write(self, config: Mapping[str, Any], rows: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Fill the folder: (`train` or `eval`, row) each, the script, and the config last."""
        data = self.path / "data"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(parents=True)
        with (
            self.train_path.open("w", encoding="utf-8") as train,
            self.eval_path.open("w", encoding="utf-8") as held,
        ):
            for part, row in rows:
                file = train if part == "train" else held
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.write_script()
        write_json(self.path / "config.json", {"format": FORMAT, **config})

    def write_script(self) -> None:
        """Put this version's script and launch files in."""
        target = self.path / "lathe_train"
        shutil.rmtree(target, ignore_errors=True)
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
        shutil.copytree(_SCRIPT, target, ignore=ignored)
        write_atomic(self.path / "train.py", _TRAIN)
        from core.training import launch

        launch.write_launch(self.path)

    def config(self) -> dict[str, Any]:
        """What was asked, or nothing yet."""
        return dict(read_json(self.path / "config.json") or {})

    def result(self) -> dict[str, Any] | None:
        """How the script ended, or None while it has not."""
        found: dict[str, Any] | None = read_json(self._result)
        return found

    def write_failure(self, error: Mapping[str, Any]) -> None:
        """Say why a script ended that could not say so itself."""
        write_json(self._result, {"state": "failed", "error": dict(error)})

    def reopen(self) -> None:
        """Take back a wish to stop, and an end that was no success."""
        self._stop.unlink(missing_ok=True)
        if (self.result() or {}).get("state") != "succeeded":
            self._result.unlink(missing_ok=True)

    def request_stop(self) -> None:
        """Ask the script to save a checkpoint and end."""
        self._stop.touch()

    def locked(self) -> bool:
        """True while a process trains here."""
        return is_locked(self.path / "lock")

    def events(self, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Whole events from byte `offset` on, and the offset behind them."""
        lines, end = read_lines(self.events_path, offset)
        return list(_parsed(lines)), end

    def every_event(self, *kinds: str) -> list[dict[str, Any]]:
        """The events of these kinds that count, oldest first: steps that a crash took back are
        left out, and taken again they are there once."""
        found: list[dict[str, Any]] = []
        for event in self.events()[0]:
            if event["kind"] == "start":
                last = event.get("resumed_from")
                if last is None:
                    found = []
                else:
                    found = [one for one in found if int(one.get("step") or 0) <= int(last)]
            found.append(event)
        return [event for event in found if not kinds or event["kind"] in kinds]

    def checkpoints(self) -> list[int]:
        """The steps of which there is a complete checkpoint, in order."""
        found = []
        for path in (self.path / "checkpoints").glob("checkpoint-*"):
            named = _CHECKPOINT.fullmatch(path.name)
            if named and (path / "complete.json").is_file():
                found.append(int(named[1]))
        return sorted(found)

    def rows(self, part: str) -> Iterator[dict[str, Any]]:
        """The rows of `train` or `eval`; none where there is no such file."""
        path = self.train_path if part == "train" else self.eval_path
        if path.is_file():
            with path.open(encoding="utf-8") as file:
                for line in file:
                    if line.strip():
                        yield json.loads(line)

    def forget_rows(self) -> None:
        """Take the rows out, and what was answered to them: the dataset is to be deleted."""
        shutil.rmtree(self.path / "data", ignore_errors=True)
        if self.events_path.is_file():
            kept = [event for event in self.events()[0] if event["kind"] != "sample"]
            lines = (json.dumps(event, ensure_ascii=False) + "\n" for event in kept)
            write_atomic(self.events_path, "".join(lines))

    def row_ids(self, part: str) -> list[str]:
        """The dataset's rows in a part, each once, in order."""
        return list(dict.fromkeys(str(row["id"]) for row in self.rows(part)))


def lathe_version() -> str:
    """The version of this Lathe, as a lineage names it."""
    try:
        return metadata.version("lathe")
    except metadata.PackageNotFoundError:
        return "unknown"


def _parsed(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue  # torn by a crash, and then written on
        if isinstance(event, dict) and "kind" in event:
            yield event
