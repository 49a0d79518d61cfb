"""The transformers engine: Hugging Face models in fp32, bf16, int8 or NF4, on a GPU or a CPU.

Knows: loading and tokenizing. Does not know: batching (`batching`), HTTP.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import torch

from core.errors import Invalid
from core.models.engines import Progress, Rendered, Request, Sink
from core.models.engines.batching import Batcher, Memory, Row, as_tokens
from core.models.engines.fusing import fuse
from core.models.engines.packing import pack
from core.models.engines.plain import PlainMemory
from core.models.engines.sampling import Sampler
from core.models.engines.screening import screen
from core.models.engines.slot_memory import SlotMemory
from core.models.engines.slots import ATTENTION
from core.models.engines.text import TextAssembler
from core.models.spec import WorkerSpec
from core.processes import give_back_memory

KV_BYTES = 1536 * 1024**2
"""Most key/value memory for many requests together; one request may always have its context."""
STEP_TOKENS_CPU = 512
STEP_TOKENS_GPU = 4096
PLAIN_SLOTS = 8


class TransformersEngine:
    """A causal language model with continuous batching."""

    supports = frozenset({"chat", "seed", "logprobs", "completions"})

    def __init__(
        self, spec: WorkerSpec, progress: Progress, *, base: TransformersEngine | None = None
    ) -> None:
        if spec.threads:
            torch.set_num_threads(spec.threads)
        progress("loading the tokenizer", 0.0)
        self._tokenizer = _load_tokenizer(spec)
        self._tokenizing = threading.Lock()  # fast tokenizers refuse two threads at once
        progress("loading weights", 0.05)
        self._turn: threading.Lock = threading.Lock() if base is None else base._turn
        with self._turn:
            model: Any = _prepared(spec, None if base is None else base._model)
        self._model: Any = model
        config = model.config.get_text_config()
        self.context_length = _context_length(spec, config)
        ragged = attends_to_everything(config, self.context_length)
        self.slots = spec.slots if ragged else min(spec.slots, PLAIN_SLOTS)
        self.facts: dict[str, Any] = {
            "device": str(model.device),
            "dtype": str(model.dtype).removeprefix("torch."),
            "batching": "ragged" if ragged else "one row at a time",
        }
        gpu = model.device.type != "cpu"
        give_back_memory()
        self._batcher = Batcher(
            self._memory(ragged),
            slots=self.slots,
            step_tokens=STEP_TOKENS_GPU if gpu else STEP_TOKENS_CPU,
            ends=_ends(model, self._tokenizer),
            piece=lambda token: self._decode([token]),
            turn=self._turn,
        )

    def beside(self, spec: WorkerSpec) -> TransformersEngine:
        """An engine for an adapter of this one's model, which shares what layers it can.

        The two take turns: this one waits while the other's layers are prepared.
        """
        return TransformersEngine(spec, lambda text, share: None, base=self)

    def submit(self, request: Request, sink: Sink) -> None:
        ids = self._ids(self.render(request).text)
        room = self.context_length - len(ids)
        if room < 1:
            raise Invalid(
                f"The prompt has {len(ids)} tokens; the model is loaded with a context of "
                f"{self.context_length}, answer included.",
                field="messages",
                hint="Shorten the prompt or load the model with a longer context.",
            )
        generation = request.generation
        self._batcher.submit(
            Row(
                request=request,
                sink=sink,
                tokens=as_tokens(ids),
                limit=min(generation.max_tokens, room),
                text=TextAssembler(self._decode, generation.stop),
                sampler=Sampler(generation, request.top_logprobs),
            )
        )

    def render(self, request: Request) -> Rendered:
        text = self._chat_text(request) if request.prompt is None else request.prompt
        return Rendered(text, len(self._ids(text)))

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        raise Invalid("This is a chat model: it has no embeddings.", field="model")

    def close(self) -> None:
        self._batcher.close()

    def _memory(self, ragged: bool) -> Memory:
        if not ragged:
            self._model.set_attn_implementation("sdpa")
            return PlainMemory(self._model)
        per_token = kv_bytes_per_token(self._model.config.get_text_config(), self._model.dtype)
        budget = max(KV_BYTES, per_token * self.context_length)
        return SlotMemory(self._model, budget_bytes=budget, bytes_per_token=per_token)

    def _chat_text(self, request: Request) -> str:
        if not getattr(self._tokenizer, "chat_template", None):
            raise Invalid(
                "This model has no chat template.",
                field="messages",
                hint="It is a base model: use /v1/completions, or an instruct model.",
            )
        try:
            with self._tokenizing:
                return str(
                    self._tokenizer.apply_chat_template(
                        list(request.messages or ()), tokenize=False, add_generation_prompt=True
                    )
                )
        except Exception as error:  # templates raise what they like, such as on roles they lack
            raise Invalid(
                f"The model's chat template refuses these messages: {error}", field="messages"
            ) from error

    def _ids(self, text: str) -> list[int]:
        with self._tokenizing:
            found: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return found

    def _decode(self, tokens: Sequence[int]) -> str:
        with self._tokenizing:
            return str(
                self._tokenizer.decode(
                    list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
                )
            )


def _prepared(spec: WorkerSpec, base: Any | None) -> Any:
    """The model as it computes: on a CPU with its layers fused and packed.

    An adapter may share the layers of `base`, its model as it was loaded alike.
    """
    model = _load_model(spec, base)
    if model.device.type == "cpu":
        config = model.config.get_text_config()
        if attends_to_everything(config, _context_length(spec, config)):
            fuse(model)  # fused layers keep their keys and values in slots
            screen(model)
        pack(model)
    return model


def _context_length(spec: WorkerSpec, config: Any) -> int:
    most = int(getattr(config, "max_position_embeddings", 0) or spec.context_length)
    return min(spec.context_length, most)


def attends_to_everything(config: Any, context_length: int) -> bool:
    """True when every layer sees every token of the context: what the ragged batch needs."""
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    window = getattr(config, "sliding_window", None)
    if kinds == {"full_attention"} and getattr(config, "use_sliding_window", True) is False:
        window = None
    capped = getattr(config, "attn_logit_softcapping", None)
    if kinds <= {"full_attention", "sliding_attention"} and not capped:
        return window is None or window >= context_length
    return False


def kv_bytes_per_token(config: Any, dtype: torch.dtype) -> int:
    """Bytes of keys and values that one token takes in all layers."""
    heads = int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
    size = int(
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )
    return int(2 * config.num_hidden_layers * heads * size * dtype.itemsize)


def _load_tokenizer(spec: WorkerSpec) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(spec.path, local_files_only=True, trust_remote_code=False)


def _load_model(spec: WorkerSpec, base: Any | None) -> Any:
    from transformers import AutoModelForCausalLM

    from core.models.engines.adapting import lay_over, twin
    from core.models.engines.precision import load_arguments

    merge = spec.quantization in ("fp32", "bf16")
    if spec.adapter_path and base is not None and not merge:
        return lay_over(twin(base), spec.adapter_path, merge=False).eval()
    model = AutoModelForCausalLM.from_pretrained(
        spec.path,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        attn_implementation=ATTENTION,
        **load_arguments(spec.quantization, spec.device),
    )
    if spec.adapter_path:
        model = lay_over(model, spec.adapter_path, merge=merge)
    return model.eval()


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    ends = model.generation_config.eos_token_id
    ends = list(ends) if isinstance(ends, list | tuple) else [ends]
    return frozenset(int(e) for e in [*ends, tokenizer.eos_token_id] if e is not None)
