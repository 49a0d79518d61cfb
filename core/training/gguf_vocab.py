"""A byte-level BPE tokenizer in GGUF's words, where it can be done right.

Knows: tokenizer.json and how llama.cpp names the ways to cut text into words. Does not know:
weights. llama.cpp has each way in code, under a name; a way that is not in the table below would
be cut otherwise than it was in training, so it is refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import Invalid

if TYPE_CHECKING:
    import gguf

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
_QWEN2 = (
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
)
_LLAMA3 = _QWEN2.replace("|\\p{N}|", "|\\p{N}{1,3}|")
WORDS: dict[str, str] = {_QWEN2: "qwen2", _LLAMA3: "llama-bpe"}
"""How llama.cpp calls a pattern that cuts text into words."""


def add_tokenizer(writer: gguf.GGUFWriter, folder: Path, size: int) -> None:
    """Write the tokenizer of a model's folder; `size` is the rows of its embedding.

    Raises Invalid that says why where llama.cpp would tokenize otherwise.
    """
    data = _read(folder / "tokenizer.json")
    config = _read(folder / "tokenizer_config.json")
    if data is None:
        raise _refused("it has no tokenizer.json")
    model = data["model"]
    if model.get("type") != "BPE" or model.get("byte_fallback"):
        kind = "SentencePiece" if model.get("byte_fallback") else model.get("type")
        raise _refused(f"it is a {kind} tokenizer, not byte-level BPE")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_way(data))
    tokens, kinds = _tokens(data, size)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in model["merges"]])
    _add_special(writer, folder, data, config or {}, {t: i for i, t in enumerate(tokens)})


def _way(data: dict[str, Any]) -> str:
    normalizer = data.get("normalizer")
    if normalizer is not None and normalizer.get("type") != "NFC":
        raise _refused(f"it changes text first ({normalizer.get('type')})")
    cutter = data.get("pre_tokenizer") or {}
    parts = cutter.get("pretokenizers") if cutter.get("type") == "Sequence" else [cutter]
    *before, last = parts or [{}]
    if last.get("type") != "ByteLevel" or last.get("add_prefix_space"):
        raise _refused("it does not cut text into bytes as GPT-2 does")
    own_words = last.get("use_regex", True)
    if not before and own_words:
        return "gpt-2"
    if len(before) == 1:
        first = before[0]
        if first.get("type") == "Digits" and first.get("individual_digits") and own_words:
            return "smollm"
        pattern = (first.get("pattern") or {}).get("Regex")
        if first.get("type") == "Split" and pattern in WORDS and not own_words:
            return WORDS[pattern]
    raise _refused("it cuts text into words in a way that is not known here")


def _tokens(data: dict[str, Any], size: int) -> tuple[list[str], list[int]]:
    added = {int(token["id"]): token for token in data.get("added_tokens") or ()}
    by_id = {int(number): text for text, number in data["model"]["vocab"].items()}
    by_id.update({number: token["content"] for number, token in added.items()})
    if max(by_id) >= size:
        raise _refused(f"it has {max(by_id) + 1} tokens and the model {size}")
    tokens, kinds = [], []
    for number in range(size):
        tokens.append(by_id.get(number, f"[PAD{number}]"))
        if number in added:
            kinds.append(CONTROL if added[number].get("special") else USER_DEFINED)
        else:
            kinds.append(NORMAL if number in by_id else UNUSED)
    return tokens, kinds


def _add_special(
    writer: gguf.GGUFWriter,
    folder: Path,
    data: dict[str, Any],
    config: dict[str, Any],
    ids: dict[str, int],
) -> None:
    said = {}
    for name in ("bos", "eos", "unk", "pad"):
        token = config.get(f"{name}_token")
        token = token.get("content") if isinstance(token, dict) else token
        if token in ids:
            said[name] = ids[token]
            getattr(writer, f"add_{name}_token_id")(ids[token])
    begins = config.get("add_bos_token")
    if begins is None:
        begins = "bos" in said and _puts_first(data, config)
    writer.add_add_bos_token(bool(begins))
    template = folder / "chat_template.jinja"
    text = template.read_text(encoding="utf-8") if template.is_file() else None
    text = text or config.get("chat_template")
    if isinstance(text, str):
        writer.add_chat_template(text)


def _puts_first(data: dict[str, Any], config: dict[str, Any]) -> bool:
    """Whether the tokenizer itself puts its first token before a text."""
    token = config.get("bos_token")
    token = token.get("content") if isinstance(token, dict) else token
    return f'"{token}"' in json.dumps(data.get("post_processor") or {}, ensure_ascii=False)


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _refused(why: str) -> Invalid:
    return Invalid(
        f"The tokenizer cannot be written as GGUF: {why}.",
        title="No GGUF of this model",
        hint="Export it merged and convert that folder with llama.cpp's convert_hf_to_gguf.py.",
    )
