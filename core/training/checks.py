"""What the rows of a training look like before it starts: what blocks it, what to know of it.

    blocks      it could not train, or would train on something else than inference sends
    warnings    it can; the outcome may disappoint

Knows: rows as they are trained on, tokens and masks through the script's own functions. Does not
know: models, jobs. The tokenizer is given; torch is never loaded here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.curation.alike import near_groups
from core.curation.chats import ends_with_assistant, roles_alternate
from core.curation.tools import Tools
from core.training.data import answer_of, prompt_of, question_key
from core.training.script.params import Params

EXAMPLES = 5
FEW_TRAIN, FEW_EVAL = 50, 20
NEAR_ROWS = 20_000
"""Up to so many rows are looked through for near copies: some seconds."""
MOST_LABELS = 20
ONE_SIDED = 0.8
SECONDS_OF_AN_EVALUATION = 0.5
"""Of a training step over as many rows: there is no way back."""
Row = Mapping[str, Any]


@dataclass(slots=True)
class Report:
    """What a check found; see `Finetunes.report`."""

    blocks: list[dict[str, str]] = field(default_factory=list)
    warnings: list[dict[str, str]] = field(default_factory=list)
    template: dict[str, Any] | None = None
    lengths: dict[str, Any] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)
    kept_rows: int = 0
    answer_share: float = 0.0

    def block(self, code: str, message: str, hint: str) -> None:
        """It cannot start like this."""
        self.blocks.append({"code": code, "message": message, "hint": hint})

    def warn(self, code: str, message: str, hint: str) -> None:
        """It can, and somebody should know."""
        self.warnings.append({"code": code, "message": message, "hint": hint})


def examine(
    tokenizer: Any,
    train: Sequence[Row],
    held: Sequence[Row],
    params: Params,
    *,
    cache: Path,
    check: Callable[[], None] = lambda: None,
) -> Report:
    """Look at every row; `cache` is a folder for what is computed on the way."""
    report = Report()
    _template(report, tokenizer, [*train, *held])
    if report.blocks:
        return report
    check()
    _tokens(report, tokenizer, train, params)
    check()
    _turns(report, train)
    _copies(report, train, held)
    _near_copies(report, train, held, cache, check)
    _answers(report, train, held, params)
    _few(report, train, held)
    return report


def conversations(row: Row) -> list[list[dict[str, Any]]]:
    """A row as the conversations that it is trained on: one, or one for each answer."""
    if "messages" in row:
        return [list(row["messages"])]
    answers = [row[name] for name in ("chosen", "rejected", "completion") if name in row]
    return [[*row["prompt"], *answer] for answer in answers]


def pieces(tokenizer: Any, input_ids: Sequence[int], labels: Sequence[int]) -> list[dict[str, Any]]:
    """The text of a row's tokens, cut where the loss begins and ends to count them."""
    runs: list[tuple[bool, list[int]]] = []
    for token, label in zip(input_ids, labels, strict=True):
        trained = label != -100
        if not runs or runs[-1][0] != trained:
            runs.append((trained, []))
        runs[-1][1].append(token)
    return [
        {"text": tokenizer.decode(ids, skip_special_tokens=False), "trained": trained}
        for trained, ids in runs
    ]


def seconds_estimate(
    measured: Mapping[str, Any],
    steps: int,
    every: int,
    train_rows: int,
    eval_rows: int,
    rows_per_step: int,
) -> float:
    """Seconds from start to end: loading, the steps, and an evaluation each `every` steps."""
    step = float(measured["seconds_per_step"])
    evaluations = 1 + -(-steps // max(1, every)) if eval_rows else 0
    each = SECONDS_OF_AN_EVALUATION * step * eval_rows / max(1, min(rows_per_step, train_rows))
    return float(measured["load_seconds"]) + steps * step + evaluations * each


def _template(report: Report, tokenizer: Any, rows: Sequence[Row]) -> None:
    """What the trainer sees and what inference sends must agree up to the answer, in every row."""
    from core.training.script.rows import TemplateMismatch, compare_templates

    for row in rows:
        for turns in conversations(row):
            try:
                found = compare_templates(tokenizer, turns)
            except TemplateMismatch as error:
                report.block("template", f"Row {row['id']}: {error}",
                             "Change the turns, or take a model whose template fits.")  # fmt: skip
                return
            if report.template is None or not found["same"]:
                report.template = found
            if not found["same"]:
                report.block(
                    "template",
                    f"Training and inference see different texts: row {row['id']} differs at "
                    f"character {found['differs_at']}.",
                    "The model would learn to answer a text that it is never sent. Take a model "
                    "whose template writes earlier turns as it writes the last one.",
                )
                return


def _tokens(report: Report, tokenizer: Any, train: Sequence[Row], params: Params) -> None:
    from core.training.script.rows import prepare

    rows = [{"id": row["id"], "messages": turns} for row in train for turns in conversations(row)]
    whole = Params.from_dict({**params.to_dict(), "max_length": 1_048_576, "method": "sft",
                              "packing": False})  # fmt: skip
    encoded, empty = prepare(tokenizer, rows, whole)
    lengths = sorted(len(one.input_ids) for one in encoded)
    over = [one for one in encoded if len(one.input_ids) > params.max_length]
    kept = [one for one in encoded if len(one.input_ids) <= params.max_length]
    report.dropped = dict(empty)
    if over and params.too_long == "drop":
        report.dropped["too long"] = len({one.id for one in over})
    else:
        kept = encoded
    if lengths:
        report.lengths = {
            "p50": lengths[len(lengths) // 2],
            "p95": lengths[min(len(lengths) - 1, int(len(lengths) * 0.95))],
            "max": lengths[-1],
            "mean": sum(lengths) / len(lengths),
            "truncated_share": len(over) / len(lengths),
        }
    report.kept_rows = len({one.id for one in kept})
    tokens = sum(len(one.input_ids) for one in kept)
    report.answer_share = sum(one.trained for one in kept) / max(1, tokens)
    for one in kept[:EXAMPLES]:
        ids, labels = one.input_ids[: params.max_length], one.labels[: params.max_length]
        report.examples.append({
            "row_id": one.id, "pieces": pieces(tokenizer, ids, labels), "tokens": len(ids),
            "trained_tokens": sum(label != -100 for label in labels),
        })  # fmt: skip
    _too_long(report, over, encoded, params)
    for reason, count in empty.items():
        report.warn("dropped", f"{_rows(count)} cannot be trained on: {reason}.",
                    "They are left out. Mend them on the Curate page if they matter.")  # fmt: skip


def _too_long(report: Report, over: Sequence[Any], every: Sequence[Any], params: Params) -> None:
    if not every or (len(over) == len(every) and params.too_long == "drop"):
        why = f"all are longer than {params.max_length} tokens" if every else "none has an answer"
        report.block("empty", f"No row can be trained on: {why}.",
                     "Raise the longest row, or choose other rows.")  # fmt: skip
        return
    if over:
        what = "left out" if params.too_long == "drop" else "cut off at their end"
        longest = max(len(one.input_ids) for one in over)
        report.warn(
            "too_long",
            f"{_rows(len(over))} of {len(every):,} are longer than {params.max_length} tokens and "
            f"are {what}; the longest has {longest:,}.",
            "Raise the longest row if they matter.",
        )


def _turns(report: Report, train: Sequence[Row]) -> None:
    odd = [row for row in train if not all(_well_formed(turns) for turns in conversations(row))]
    if odd:
        report.warn(
            "chat_format",
            f"In {_rows(len(odd))} the turns do not go user, assistant, user, assistant; the first "
            f"is {odd[0]['id']}.",
            "Many templates refuse such rows or lose turns. Mend them on the Curate page.",
        )


def _well_formed(turns: list[dict[str, Any]]) -> bool:
    return bool(turns) and roles_alternate(turns) and ends_with_assistant(turns)


def _copies(report: Report, train: Sequence[Row], held: Sequence[Row]) -> None:
    questions: dict[str, set[str]] = {}
    whole: Counter[tuple[str, str]] = Counter()
    for row in train:
        key, answer = question_key(row), answer_of(row).strip()
        questions.setdefault(key, set()).add(answer)
        whole[key, f"{answer}/{row.get('label')}"] += 1
    again = sum(count - 1 for count in whole.values())
    if again:
        report.warn("duplicates", f"{_rows(again)} to train on stand there more than once.",
                    "They count that often. Remove duplicates on the Curate page.")  # fmt: skip
    torn = sum(len(answers) > 1 for answers in questions.values())
    if torn and "messages" in train[0]:
        report.warn("contradictions", f"{torn:,} questions have more than one answer.",
                    "The model learns a mixture. Look at them on the Curate page.")  # fmt: skip
    leaked = sum(question_key(row) in questions for row in held)
    if leaked:
        report.warn(
            "leakage",
            f"{_rows(leaked)} held out ask what rows to train on ask, too.",
            "On these it shows what was learnt by heart. Split anew by groups on the Curate page.",
        )


def _near_copies(
    report: Report,
    train: Sequence[Row],
    held: Sequence[Row],
    cache: Path,
    check: Callable[[], None],
) -> None:
    """Held-out rows that nearly ask what a row to train on asks."""
    if not held or len(train) + len(held) > NEAR_ROWS:
        return
    texts = _without_what_all_share([_question(row) for row in [*train, *held]])
    exact = {question_key(row) for row in train}
    found = set()
    for group in near_groups([texts], Tools(cache=cache, check=check)):
        if any(number < len(train) for number in group.rows):
            found |= {n for n in group.rows if n >= len(train)}
    near = [n for n in found if question_key(held[n - len(train)]) not in exact]
    if near:
        report.warn(
            "leakage_near",
            f"{_rows(len(near))} held out nearly repeat a row to train on, such as "
            f"{held[near[0] - len(train)]['id']}.",
            "The comparison will flatter the adapter. Remove near duplicates on the Curate page.",
        )


def _question(row: Row) -> str:
    return "\n".join(str(turn.get("content") or "") for turn in prompt_of(row))


def _without_what_all_share(texts: Sequence[str]) -> list[str]:
    """The texts less the lines that most have: a prompt's own words make all of them alike."""
    lines = Counter(line for text in texts for line in set(text.splitlines()))
    common = {line for line, count in lines.items() if count > max(2, len(texts) // 2)}
    return ["\n".join(line for line in t.splitlines() if line not in common) for t in texts]


def _answers(report: Report, train: Sequence[Row], held: Sequence[Row], params: Params) -> None:
    if params.method == "kto":
        good = sum(bool(row["label"]) for row in train)
        if good in (0, len(train)):
            report.block("one_verdict", "Every answer has the same verdict.",
                         "KTO learns from good and from bad ones: add the other kind.")  # fmt: skip
        return
    if params.method != "sft":
        longer = sum(len(answer_of(row)) > len(_rejected(row)) for row in train)
        if len(train) >= FEW_TRAIN and longer / len(train) > ONE_SIDED:
            report.warn(
                "length_bias",
                f"In {longer / len(train):.0%} of the rows the chosen answer is the longer one.",
                "The model may learn to write more. Add pairs whose better answer is short.",
            )
        return
    labels = Counter(answer_of(row).strip() for row in train)
    if not 1 <= len(labels) <= min(MOST_LABELS, len(train) // 2):
        return
    label, most = labels.most_common(1)[0]
    if most / len(train) > ONE_SIDED:
        report.warn("imbalance", f"{most / len(train):.0%} of the answers are {label!r}.",
                    "It may learn to say nothing else. Balance the rows first.")  # fmt: skip
    unseen = sorted({answer_of(row).strip() for row in held} - labels.keys())
    if unseen:
        report.warn("unseen", f"Held-out answers that no row trains: {', '.join(unseen[:5])}.",
                    "It cannot learn them. Hold out a share in place of that split.")  # fmt: skip


def _few(report: Report, train: Sequence[Row], held: Sequence[Row]) -> None:
    if len(train) < FEW_TRAIN:
        report.warn("few_rows", f"There are only {_rows(len(train))} to train on.",
                    "A style can be learnt from some fifty, a task needs hundreds.")  # fmt: skip
    if not held:
        report.warn("no_held_out", "No row is held out.",
                    "Nobody will know whether it got better. Hold out a share.")  # fmt: skip
    elif len(held) < FEW_EVAL:
        report.warn("few_held_out", f"Only {_rows(len(held))} are held out.",
                    "Only a large difference from the base can be shown on so few.")  # fmt: skip


def _rejected(row: Row) -> str:
    return "\n".join(str(turn.get("content") or "") for turn in row.get("rejected") or ())


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"
