"""Models that find names where no pattern does: spaCy's and GLiNER's, of the user's own.

Both are named by the user and lie on this machine: nothing is downloaded, nothing is loaded that
could run code of its own (GLiNER's weights are safetensors or refused).

Knows: the two libraries, loaded once. Does not know: patterns, tables.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.curation.recognizers import load
from core.curation.spans import Span
from core.errors import Invalid

SPACY_LABELS = {"PERSON": "person", "PER": "person"}
SPACY_SCORE = 0.7
GLINER_LABELS = {
    # what the model is asked for: our type
    "person": "person",
    "address": "postal_address",
    "date of birth": "date_of_birth",
    "phone number": "phone",
    "email": "email",
}
PRESIDIO = "presidio_analyzer.predefined_recognizers.ner.gliner_recognizer"
GLINER_LEAST = 0.3
"""Below it the model itself keeps quiet; the threshold of the search comes on top."""


@dataclass(frozen=True, slots=True)
class NameModels:
    """Which models are asked beside the patterns."""

    spacy: str | None = None
    """The name or folder of an installed spaCy pipeline."""
    gliner: str | None = None
    """A folder with a GLiNER model: gliner_config.json, model.safetensors, its tokenizer."""

    @classmethod
    def of(cls, options: Any) -> NameModels:
        """As options or arguments name them: `spacy_model`, `gliner_model`."""
        return cls(options.get("spacy_model") or None, options.get("gliner_model") or None)

    def __bool__(self) -> bool:
        return bool(self.spacy or self.gliner)

    def spans(self, text: str) -> Iterator[Span]:
        """What they find in a text. Raises Invalid where one is not there or cannot be loaded."""
        if self.spacy:
            loaded = _spacy(self.spacy)
            for entity in loaded(text[: loaded.max_length]).ents:
                if entity.label_ in SPACY_LABELS:
                    type_ = SPACY_LABELS[entity.label_]
                    yield Span(type_, SPACY_SCORE, entity.start_char, entity.end_char)
        if self.gliner:
            for hit in _gliner(self.gliner).analyze(text, []):
                yield Span(hit.entity_type, round(float(hit.score), 3), hit.start, hit.end)


@functools.lru_cache(maxsize=1)
def _spacy(name: str) -> Any:
    import spacy

    try:
        return spacy.load(name)
    except OSError as error:
        raise Invalid(
            f"There is no spaCy model {name!r} on this machine.",
            field="spacy_model",
            hint="Install it, or give the folder that holds it; Lathe downloads none.",
        ) from error


@functools.lru_cache(maxsize=1)
def _gliner(name: str) -> Any:
    """presidio's recognizer around the model in a folder."""
    folder = gliner_folder(name)
    load()  # presidio first, which would import gliner, torch and all, by itself
    os.environ["HF_HUB_OFFLINE"] = "1"  # a config may name an encoder of the hub
    try:
        models = importlib.import_module("gliner")
    except ImportError as error:
        raise Invalid(
            "GLiNER models need the package gliner, which is not installed.",
            field="gliner_model",
            hint="pip install 'lathe[gliner]', then start Lathe again.",
        ) from error
    module = importlib.import_module(PRESIDIO)

    class Local(module.GLiNERRecognizer):  # type: ignore[name-defined,misc]
        """Loads from the folder alone, when it is made."""

        def load(self) -> None:
            self.gliner = models.GLiNER.from_pretrained(
                str(folder), map_location="cpu", local_files_only=True
            )

    try:
        return Local(
            entity_mapping=GLINER_LABELS,
            model_name=str(folder),
            threshold=GLINER_LEAST,
            map_location="cpu",
        )
    except Exception as error:  # whatever the library finds wrong with the files
        raise Invalid(
            f"The GLiNER model in {folder.name} cannot be loaded: {error}",
            field="gliner_model",
            hint="It has to be whole, its tokenizer and the encoder's config in the same folder.",
        ) from error


def gliner_folder(name: str) -> Path:
    """The folder of a GLiNER model, whole and harmless. Raises Invalid saying what is missing."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise Invalid(
            f"There is no folder {name!r} on this machine.",
            field="gliner_model",
            hint="Give the folder that holds the GLiNER model; Lathe downloads none.",
        )
    if not (folder / "gliner_config.json").is_file():
        raise Invalid(
            f"{folder.name} holds no GLiNER model: gliner_config.json is missing.",
            field="gliner_model",
        )
    if not (folder / "model.safetensors").is_file():
        raise Invalid(
            f"The GLiNER model in {folder.name} has no model.safetensors.",
            field="gliner_model",
            hint="Other weights (pytorch_model.bin) can run code while they are loaded: save the"
            " model as safetensors first.",
        )
    return folder
