"""What a model worker is asked to load, and where a loaded model answers.

Knows: the two records that pools, clients, runs and pages pass around. Does not know: how
a model is loaded, nor the registry it comes from.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

from core.errors import Invalid
from core.ids import content_hash

ENGINES = ("transformers", "llama.cpp", "endpoint", "scripted")
KINDS = ("chat", "embedding")


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """One model, as one engine loads it. Equal specs share one worker process."""

    model_id: str
    model_name: str
    engine: str
    """transformers, llama.cpp, endpoint (no worker of ours) or scripted (for tests)."""
    quantization: str
    """fp32, bf16, int8, nf4, nf4-dq; gguf for a GGUF's own type; remote for an endpoint."""
    kind: str = "chat"
    device: str = "cpu"
    path: str | None = None
    """Folder of safetensors, for transformers and sentence-transformers."""
    gguf_path: str | None = None
    adapter_path: str | None = None
    """Folder of a LoRA adapter to lay over the model at `path`."""
    base_url: str | None = None
    """The endpoint's /v1 address."""
    threads: int = 0
    """CPU threads; 0 means all cores."""
    context_length: int = 2048
    """Most tokens of one request, prompt and answer together."""
    slots: int = 64
    """Most requests decoded together."""
    idle_minutes: float = 15.0
    """Unloaded when nobody asked for this long; 0 keeps it."""
    script: str | None = None
    """The scripted engine's replies: see `core.models.engines.scripted`."""
    why: str = field(default="", compare=False)
    """Why auto chose this, in words."""

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise Invalid(f"There is no engine {self.engine!r}.", field="engine")
        if self.kind not in KINDS:
            raise Invalid(f"There is no model kind {self.kind!r}.", field="kind")

    @property
    def key(self) -> str:
        """Short content hash: the worker's folder. Idle time and reasons do not count."""
        content = {k: v for k, v in asdict(self).items() if k not in ("why", "idle_minutes")}
        if self.adapter_path is None:  # models without one keep the keys they had
            del content["adapter_path"]
        return content_hash(content)[:16]

    @property
    def label(self) -> str:
        """Model, engine and quantization, as people read them."""
        return f"{self.model_name} · {self.engine} · {self.quantization}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON; `from_dict` reads it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Parse what `to_dict` wrote; names this version does not know are left out."""
        known = {f.name for f in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})

    def with_changes(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model answers OpenAI-compatible HTTP."""

    base_url: str
    """Ends in /v1."""
    api_key: str
    model: str
    """The name to send as `model`."""
    spec: WorkerSpec
    slots: int = 8
    """Requests worth having in flight."""

    def __repr__(self) -> str:  # the key must not end up in a log
        return f"Endpoint({self.base_url!r}, model={self.model!r})"
