"""Embeddings: unit vectors of texts by a local sentence-transformers model.

Knows: the model's folder, batches. Does not know: what the vectors are for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from core.errors import ModelUnavailable

if TYPE_CHECKING:
    import numpy as np

    from core.curation.tools import Tools


def embedded(tools: Tools, texts: Sequence[str]) -> np.ndarray[Any, Any]:
    """Unit vectors (n, size) float32; raises ModelUnavailable where there is no model."""
    from sentence_transformers import SentenceTransformer

    if tools.embedding_model is None:
        raise ModelUnavailable(
            "There is no embedding model in this workspace.",
            hint="`make setup` fetches MiniLM; or add one on the Models page.",
        )
    model = SentenceTransformer(str(tools.embedding_model), local_files_only=True, device="cpu")
    found: np.ndarray[Any, Any] = model.encode(list(texts), normalize_embeddings=True)
    return found
