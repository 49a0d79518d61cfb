"""Models of the user's own find more names; what is missing is said, and nothing is fetched."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from core.curation import personal
from core.curation.name_models import NameModels, gliner_folder
from core.curation.steps.personal import redact
from core.curation.tools import Tools
from core.errors import Invalid
from core.settings import PROJECT_ROOT
from tests.curation.versions import rows_of, table_of, values_of

TEXT = "then Zyx Quork left"


@pytest.fixture
def spacy_model(tmp_path: Path) -> str:
    import spacy

    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "PERSON", "pattern": "Zyx Quork"}])  # type: ignore[attr-defined]
    nlp.to_disk(tmp_path / "model")
    return str(tmp_path / "model")


def test_a_spacy_model_of_the_users_finds_more_names(spacy_model: str) -> None:
    spans = personal.find(TEXT, models=NameModels(spacy=spacy_model))
    assert [(s.type, TEXT[s.start : s.end]) for s in spans] == [("person", "Zyx Quork")]
    assert personal.find(TEXT) == []
    with pytest.raises(Invalid, match="no spaCy model"):
        personal.find(TEXT, models=NameModels(spacy="not_there"))


def test_a_step_takes_out_what_the_model_finds(tmp_path: Path, spacy_model: str) -> None:
    rows = rows_of(table_of(tmp_path, [TEXT, "nobody"]))
    redact(rows, {"spacy_model": spacy_model}, Tools(cache=tmp_path))
    assert values_of(rows) == ["then [PERSON] left", "nobody"]


def gliner(folder: Path, *files: str) -> str:
    folder.mkdir()
    for name in files:
        (folder / name).write_text("{}", encoding="utf-8")
    return str(folder)


def test_a_gliner_folder_that_is_not_whole_or_not_safe_is_refused(tmp_path: Path) -> None:
    for name, files, words in (
        ("empty", (), "gliner_config.json is missing"),
        ("pickled", ("gliner_config.json", "pytorch_model.bin"), "no model.safetensors"),
    ):
        with pytest.raises(Invalid, match=words) as caught:
            gliner_folder(gliner(tmp_path / name, *files))
        assert caught.value.field == "gliner_model"
    with pytest.raises(Invalid, match="no folder"):
        gliner_folder("urchade/gliner_multi_pii-v1")
    whole = gliner(tmp_path / "whole", "gliner_config.json", "model.safetensors")
    assert gliner_folder(whole) == Path(whole)


SCRIPTED = '''
class GLiNER:
    """Knows one name; everything else as the package has it."""

    @classmethod
    def from_pretrained(cls, folder, map_location, local_files_only):
        assert local_files_only and map_location == "cpu"
        return cls()

    def predict_entities(self, text, labels, flat_ner, threshold, multi_label):
        assert "person" in labels
        at = text.find("Zyx Quork")
        return [] if at < 0 else [
            {"label": "person", "start": at, "end": at + 9, "score": 0.91, "text": "Zyx Quork"}
        ]

class GLiNERConfig: ...
'''


def asked(tmp_path: Path, code: str) -> str:
    """What a fresh process prints: gliner is imported once, or never."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT_ROOT,
        env={"PYTHONPATH": f"{tmp_path / 'packages'}:{PROJECT_ROOT}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_presidios_recognizer_asks_the_gliner_of_the_folder(tmp_path: Path) -> None:
    """The class is presidio's own; only the network behind it is scripted."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "gliner.py").write_text(SCRIPTED, encoding="utf-8")
    folder = gliner(tmp_path / "whole", "gliner_config.json", "model.safetensors")
    long = "x " * 600 + "then Zyx Quork left"
    told = asked(
        tmp_path,
        "import json\nfrom core.curation.name_models import NameModels\n"
        "from core.curation.personal import find\n"
        f"text, models = {long!r}, NameModels(gliner={folder!r})\n"
        "print(json.dumps([(s.type, s.score, text[s.start:s.end])"
        " for s in find(text, models=models)]))",
    )
    assert json.loads(told) == [["person", 0.91, "Zyx Quork"]]


def test_without_the_package_it_says_how_to_get_it(tmp_path: Path) -> None:
    folder = gliner(tmp_path / "whole", "gliner_config.json", "model.safetensors")
    told = asked(
        tmp_path,
        "import sys; sys.modules['gliner'] = None\n"
        "from core.curation.name_models import NameModels\nfrom core.errors import Invalid\n"
        f"try:\n    list(NameModels(gliner={folder!r}).spans('x'))\n"
        "except Invalid as error:\n    print(error.field, error, error.hint)",
    )
    assert "gliner_model" in told
    assert "not installed" in told
    assert "lathe[gliner]" in told
