"""Embeddings: unit vectors of texts by a local sentence-transformers model, each made only once.

    cache/embeddings/<model>.sqlite     one file a model: sha256 of the text -> crc32 and float32

The file is a cache: what is damaged in it is made again, and where it cannot be written the
vectors are made without it. Several processes may use it at once.

Knows: the model's folder, batches, the cache. Does not know: what the vectors are for.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import ModelUnavailable

if TYPE_CHECKING:
    import numpy as np

    from core.curation.tools import Tools

    Vectors = np.ndarray[Any, np.dtype[np.float32]]

CHUNK = 256
"""Texts between two looks at whether somebody asked to stop; also what a crash can lose."""
ASKED = 500  # keys in one question to the cache
WINDOW = 512  # tokens, of a model that does not say
CHARACTERS_A_TOKEN = 100  # the longest word that the model's tokenizer does not call unknown
STARTER = "all-minilm-l6-v2"


def embedding_model_path(home: Path) -> Path | None:
    """The folder of the embedding model that comes with Lathe in this home; None without one."""
    from core.models.starter import by_slug, installed

    return installed(home, by_slug(STARTER))


def embedded(tools: Tools, texts: Sequence[str]) -> Vectors:
    """Unit vectors (n, size) float32 of the texts, in their order; (0, 0) of none.

    Each distinct text is computed once ever for a model: after that it comes from the cache. A
    text longer than the model's window is cut there, as sentence-transformers does it. Raises
    ModelUnavailable where there is no model, and whatever `tools.check` raises; what was
    computed until then is kept.
    """
    import numpy as np

    if tools.embedding_model is None:
        raise ModelUnavailable(
            "There is no embedding model in this workspace.",
            hint="`make setup` fetches MiniLM; or add one on the Models page.",
        )
    cache = Cache(
        tools.cache / "embeddings" / f"{model_identity(tools.embedding_model)[:32]}.sqlite"
    )
    keys = [key_of(text) for text in texts]
    places = {key: at for at, key in enumerate(dict.fromkeys(keys))}
    found = np.zeros((len(places), 0), np.float32)
    known = np.zeros(len(places), bool)
    for part, vectors in cache.read(list(places)):
        at = [places[key] for key in part]
        found = found if found.shape[1] else np.zeros((len(places), vectors.shape[1]), np.float32)
        if vectors.shape[1] == found.shape[1]:
            found[at], known[at] = vectors, True
    if not known.all():
        wanted = {places[key]: text for key, text in zip(keys, texts, strict=True)}
        wanted = {place: text for place, text in wanted.items() if not known[place]}
        listed = list(places)
        for at, vectors in _computed(tools, wanted):
            if found.shape[1] != vectors.shape[1]:
                found = np.zeros((len(places), vectors.shape[1]), np.float32)
            found[at] = vectors
            cache.write([(listed[place], found[place]) for place in at])
    return found[[places[key] for key in keys]]


def key_of(text: str) -> bytes:
    """What a text is kept under."""
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


def _computed(tools: Tools, wanted: dict[int, str]) -> Iterator[tuple[list[int], Vectors]]:
    """Vectors of the texts, the longest first: those in a batch are then equally long."""
    assert tools.embedding_model is not None  # noqa: S101
    encode, window = tools.encode, WINDOW
    if encode is None:
        model = loaded(tools.embedding_model)
        encode, window = _here(model), model.max_seq_length or WINDOW
    most = window * CHARACTERS_A_TOKEN
    order = sorted(wanted, key=lambda place: -len(wanted[place]))
    for start in range(0, len(order), CHUNK):
        tools.check()
        at = order[start : start + CHUNK]
        # a cell of megabytes would be tokenised as a whole before it is cut
        texts = [wanted[place][:most].encode("utf-8", "replace").decode() for place in at]
        yield at, encode(texts)
        done = min(start + CHUNK, len(order))
        tools.tell(done / len(order), f"embedded {done:,} of {len(order):,} texts")


def _here(model: Any) -> Callable[[Sequence[str]], Vectors]:
    def encode(texts: Sequence[str]) -> Vectors:
        found: Vectors = model.encode(
            list(texts), normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
        )
        return found

    return encode


@functools.lru_cache(maxsize=1)
def loaded(folder: Path) -> Any:
    """The model, loaded once a process; on the first GPU where there is one."""
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return SentenceTransformer(str(folder), local_files_only=True, device=device)


def model_identity(folder: Path) -> str:
    """A sha256 over everything that decides the vectors."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors"))
    stamps = tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in files)
    return _identity(folder, stamps)


@functools.lru_cache(maxsize=8)
def _identity(folder: Path, stamps: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, _, length in stamps:
        digest.update(f"{path.relative_to(folder)}:{length}:".encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _fetched(question: str, part: Sequence[bytes], connection: sqlite3.Connection) -> list[Any]:
    return connection.execute(question, part).fetchall()


def _is_whole(blob: Any, crc: Any) -> bool:
    return isinstance(blob, bytes) and len(blob) > 0 and zlib.crc32(blob) == crc


class Cache:
    """Vectors by the hash of their text, in one SQLite file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, asked: Sequence[bytes]) -> Iterator[tuple[list[bytes], Vectors]]:
        """What it has of these keys, part by part: some of them and their vectors (n, size).

        A damaged file is removed, a damaged vector left out.
        """
        import numpy as np

        if not self._path.exists():
            return
        for start in range(0, len(asked), ASKED):
            part = asked[start : start + ASKED]
            marks = ",".join("?" * len(part))
            question = f"SELECT key, crc, vector FROM vectors WHERE key IN ({marks})"
            rows = self._try(functools.partial(_fetched, question, part)) or []
            whole = [(key, blob) for key, crc, blob in rows if _is_whole(blob, crc)]
            if whole:
                keys, blobs = zip(*whole, strict=True)
                yield list(keys), np.frombuffer(b"".join(blobs), np.float32).reshape(len(keys), -1)

    def write(self, vectors: Sequence[tuple[bytes, Vectors]]) -> None:
        """Keep vectors, all in one transaction; without an error where that is not possible."""
        rows = [(key, zlib.crc32(blob := vector.tobytes()), blob) for key, vector in vectors]

        def insert(connection: sqlite3.Connection) -> None:
            connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)
            connection.commit()

        self._try(insert)

    def _try(self, act: Callable[[sqlite3.Connection], Any]) -> Any:
        """Act on the file; None where it is damaged (it is removed), locked, or has no room."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(sqlite3.connect(self._path, timeout=30)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = OFF")
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS vectors"
                    " (key BLOB PRIMARY KEY, crc INTEGER, vector BLOB) WITHOUT ROWID"
                )
                return act(connection)
        except (sqlite3.OperationalError, OSError):
            return None  # locked for too long, no room, no permission: it is only a cache
        except sqlite3.DatabaseError:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)
            return None
