"""Rows of turns as tokens, and which of them the loss counts.

The mask is found by rendering, not by markers in the template: what inference sends before an
answer (the turns so far, with the generation prompt) must be a prefix of the text trained on. The
answer is what follows it, through its end-of-turn token: all that the model writes at inference,
an empty thinking block included, and nothing that it never writes. A newline that a template puts
behind the end-of-turn token is left out: generation has ended there.

Knows: chat templates, offsets, truncation. Does not know: torch, models, how it is trained.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from .params import Params

IGNORED = -100
"""The label of a token that the loss leaves out."""
_SENTINEL = "QZXANSWERXZQ"
_BATCH = 256
"""Texts that are tokenized at once."""


class TemplateMismatch(ValueError):
    """The chat template does not fit these turns, or not training and inference alike."""


@dataclass(slots=True)
class Encoded:
    """One row as the model sees it."""

    input_ids: list[int]
    labels: list[int]
    """The token itself where the loss counts it, else -100; as long as `input_ids`."""
    text: str
    spans: list[tuple[int, int]]
    """Where the answers stand in `text`, from the first character to behind the last."""
    id: str = ""

    @property
    def trained(self) -> int:
        """How many tokens the loss counts."""
        return sum(label != IGNORED for label in self.labels)


@dataclass(slots=True)
class Rendered:
    """One row as text, before it is cut into tokens."""

    text: str
    spans: list[tuple[int, int]]
    id: str = ""


def render(tokenizer: Any, messages: Sequence[dict[str, Any]], *, prompt: bool = False) -> str:
    """The turns as text; with `prompt` as inference sends them. TemplateMismatch if refused."""
    if not getattr(tokenizer, "chat_template", None):
        raise TemplateMismatch(
            "The model has no chat template, so nobody can say how turns become its text. "
            "Take the instruct variant of the model."
        )
    try:
        text = tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=prompt
        )
    except Exception as error:  # a template may raise anything: it is a program of the model's
        roles = ", ".join(str(message.get("role")) for message in messages)
        advice = ""
        if any(message.get("role") == "system" for message in messages):
            advice = " If it takes no system turn, put its text into the first user turn."
        raise TemplateMismatch(
            f"The model's chat template refuses these turns ({roles}): {error}.{advice}"
        ) from None
    return str(text)


def render_row(tokenizer: Any, messages: Sequence[dict[str, Any]], row_id: str = "") -> Rendered:
    """The whole conversation as text and where its answers stand.

    TemplateMismatch when inference would send something else before an answer than stands before
    it here, or when the template leaves answers out.
    """
    text = render(tokenizer, messages)
    spans: list[tuple[int, int]] = []
    for index, message in enumerate(messages):
        if message.get("role") != "assistant":
            continue
        before = render(tokenizer, messages[:index], prompt=True)
        if not text.startswith(before):
            at = _differs(text, before)
            raise TemplateMismatch(
                "The text trained on and the text that inference sends differ before answer "
                f"{len(spans) + 1}: at character {at} training has {text[at : at + 40]!r}, "
                f"inference {before[at : at + 40]!r}."
            )
        after = _after(tokenizer, messages, index)
        end = len(text) - len(after)
        if end < len(before) or not text.endswith(after):
            raise TemplateMismatch(
                f"The chat template changes what follows answer {len(spans) + 1} with its text, so "
                "it is not known where the answer ends."
            )
        spans.append((len(before), end + _closing(tokenizer, after)))
    return Rendered(text, spans, row_id)


def encode(
    tokenizer: Any, messages: Sequence[dict[str, Any]], *, assistant_only: bool = True
) -> Encoded:
    """One conversation as tokens; with `assistant_only` the loss counts the answers alone.

    TemplateMismatch when the text trained on and the text inference sends differ up to an answer.
    """
    return next(tokenize(tokenizer, [render_row(tokenizer, messages)], assistant_only))


def compare_templates(tokenizer: Any, messages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What stands before the last answer in training and at inference, and where they part.

    {"training", "inference", "same", "differs_at": character or None}. TemplateMismatch when the
    template refuses the turns or there is no answer.
    """
    last = max((i for i, m in enumerate(messages) if m.get("role") == "assistant"), default=None)
    if last is None:
        raise TemplateMismatch("These turns have no answer of the assistant.")
    inference = render(tokenizer, messages[:last], prompt=True)
    text = render(tokenizer, messages)
    if text.startswith(inference):
        return {"training": inference, "inference": inference, "same": True, "differs_at": None}
    training = _with_sentinel(tokenizer, messages, last)[0]
    return {
        "training": training,
        "inference": inference,
        "same": False,
        "differs_at": _differs(training, inference),
    }


def prepare(
    tokenizer: Any, rows: Iterable[dict[str, Any]], params: Params
) -> tuple[list[Encoded], dict[str, int]]:
    """Rows with "messages" as tokens of at most `max_length`, and how many were dropped and why.

    A row far too long is never tokenized whole. TemplateMismatch names the first row it is about.
    """
    kept: list[Encoded] = []
    dropped: dict[str, int] = {}

    def drop(reason: str) -> None:
        dropped[reason] = dropped.get(reason, 0) + 1

    def fitting() -> Iterator[Rendered]:
        most = (params.max_length + 16) * longest_token(tokenizer)
        for row in rows:
            reason = unusable(row.get("messages"))
            if reason is not None:
                drop(reason)
                continue
            try:
                rendered = render_row(tokenizer, row["messages"], str(row.get("id", "")))
            except TemplateMismatch as error:
                raise TemplateMismatch(f"Row {row.get('id', '?')}: {error}") from None
            if len(rendered.text) > most:
                if params.too_long == "drop":
                    drop("too long")
                    continue
                rendered.text = rendered.text[:most]
            yield rendered

    for one in tokenize(tokenizer, fitting(), params.assistant_only):
        if len(one.input_ids) > params.max_length:
            if params.too_long == "drop":
                drop("too long")
                continue
            one.input_ids = one.input_ids[: params.max_length]
            one.labels = one.labels[: params.max_length]
        # the first token is predicted from nothing: a label there trains nothing
        if all(label == IGNORED for label in one.labels[1:]):
            drop("answer cut off")
            continue
        kept.append(one)
    return kept, dropped


def unusable(messages: Any) -> str | None:
    """Why a row teaches nothing whatever the model: no turns, no answer, an empty answer."""
    if not isinstance(messages, list) or not messages:
        return "no turns"
    answers = [m.get("content") for m in messages if m.get("role") == "assistant"]
    if not answers:
        return "no answer"
    if not any(answer if not isinstance(answer, str) else answer.strip() for answer in answers):
        return "empty answer"
    return None


def tokenize(
    tokenizer: Any, rendered: Iterable[Rendered], assistant_only: bool
) -> Iterator[Encoded]:
    """Texts as tokens with labels, a batch of texts at a time."""
    batch: list[Rendered] = []
    size = 0
    for one in rendered:
        batch.append(one)
        size += len(one.text)
        if len(batch) == _BATCH or size > 4_000_000:
            yield from _tokenize_batch(tokenizer, batch, assistant_only)
            batch, size = [], 0
    if batch:
        yield from _tokenize_batch(tokenizer, batch, assistant_only)


def _tokenize_batch(
    tokenizer: Any, batch: list[Rendered], assistant_only: bool
) -> Iterator[Encoded]:
    fast = bool(getattr(tokenizer, "is_fast", False))
    found = tokenizer(
        [one.text for one in batch],
        add_special_tokens=False,  # the template wrote them
        return_offsets_mapping=fast,
        return_attention_mask=False,
        truncation=False,
        verbose=False,  # of texts longer than the model: they are cut or dropped here
    )
    for index, one in enumerate(batch):
        ids = list(found["input_ids"][index])
        if not assistant_only:
            labels = list(ids)
        elif fast:
            labels = _labels_by_offsets(ids, found["offset_mapping"][index], one.spans)
        else:
            labels = _labels_by_prefix(tokenizer, ids, one)
        yield Encoded(ids, labels, one.text, one.spans, one.id)


def _labels_by_offsets(
    ids: list[int], offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]
) -> list[int]:
    """A token is an answer's when any of its characters is; offsets of one tokenization."""
    labels = [IGNORED] * len(ids)
    ends = [end for _, end in offsets]
    for start, stop in spans:
        index = bisect_left(ends, start + 1)
        while index < len(ids) and offsets[index][0] < stop:
            labels[index] = ids[index]
            index += 1
    return labels


def _labels_by_prefix(tokenizer: Any, ids: list[int], one: Rendered) -> list[int]:
    """For tokenizers without offsets: an answer starts where its prefix's tokens part from all."""
    labels = [IGNORED] * len(ids)
    for start, stop in one.spans:
        first, behind = (
            _common(tokenizer(one.text[:at], add_special_tokens=False)["input_ids"], ids)
            for at in (start, stop)
        )
        labels[first:behind] = ids[first:behind]
    return labels


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    count = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        count += 1
    return count


@dataclass(slots=True)
class _Known:
    """What was found out about a tokenizer with a template."""

    template: Any
    marks: list[str]
    longest: int
    after_last: dict[str, str] = field(default_factory=dict)


def _known(tokenizer: Any) -> _Known:
    found: _Known | None = getattr(tokenizer, "_lathe_known", None)
    if found is None or found.template != tokenizer.chat_template:
        marks = {str(token) for token in tokenizer.get_added_vocab()}
        marks |= {str(token) for token in tokenizer.all_special_tokens}
        vocabulary = tokenizer.get_vocab()
        found = _Known(
            tokenizer.chat_template,
            sorted((mark for mark in marks if mark.strip()), key=len, reverse=True),
            max((len(token) for token in vocabulary), default=16),
        )
        tokenizer._lathe_known = found
    return found


def longest_token(tokenizer: Any) -> int:
    """Characters that one token stands for at most; n tokens have no more than n times as many."""
    return max(8, _known(tokenizer).longest)


def _with_sentinel(
    tokenizer: Any, messages: Sequence[dict[str, Any]], index: int
) -> tuple[str, str]:
    """The text before and after the content of one turn."""
    turns = [dict(message) for message in messages]
    turns[index]["content"] = _SENTINEL
    before, found, after = render(tokenizer, turns).partition(_SENTINEL)
    if not found:
        raise TemplateMismatch(
            "The model's chat template leaves the assistant's turns out, so there is no answer to "
            "train on. Take a model with a chat template for conversations."
        )
    return before, after


def _after(tokenizer: Any, messages: Sequence[dict[str, Any]], index: int) -> str:
    """What the template puts behind an answer. Behind a last one it is always the same."""
    last = index == len(messages) - 1
    known = _known(tokenizer).after_last
    if last and "after" in known:
        return known["after"]
    after = _with_sentinel(tokenizer, messages, index)[1]
    if last:
        known["after"] = after
    return after


def _closing(tokenizer: Any, after: str) -> int:
    """The length of the end-of-turn token that `after` begins with; 0 where it has none."""
    bare = after.lstrip()
    for mark in _known(tokenizer).marks:
        if bare.startswith(mark):
            return len(after) - len(bare) + len(mark)
    return 0


def _differs(left: str, right: str) -> int:
    for at, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return at
    return min(len(left), len(right))
