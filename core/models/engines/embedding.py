"""The embedding engine: sentence-transformers, in a worker like any other model.

Knows: encoding texts. Does not know: what the vectors are compared with.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from core.errors import Invalid
from core.models.engines import Progress, Rendered, Request, Sink
from core.models.spec import WorkerSpec

BATCH_SIZE = 64


class EmbeddingEngine:
    """Texts to unit vectors."""

    supports = frozenset({"embeddings"})

    def __init__(self, spec: WorkerSpec, progress: Progress) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        if spec.threads:
            torch.set_num_threads(spec.threads)
        progress("loading weights", 0.1)
        self._model = SentenceTransformer(
            str(spec.path),
            device=spec.device,
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
        self._encoding = threading.Lock()
        self.slots = 4
        self.context_length = int(self._model.max_seq_length or spec.context_length)
        self.facts: dict[str, Any] = {"device": str(self._model.device), "dtype": "float32"}

    def submit(self, request: Request, sink: Sink) -> None:
        raise Invalid("This is an embedding model: it does not chat.", field="model")

    def render(self, request: Request) -> Rendered:
        raise Invalid("This is an embedding model: it does not chat.", field="model")

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        with self._encoding:
            vectors = self._model.encode(
                list(texts),
                batch_size=BATCH_SIZE,
                normalize_embeddings=True,
                show_progress_bar=False,
            )
        found: list[list[float]] = vectors.tolist()
        return found

    def close(self) -> None:
        pass
