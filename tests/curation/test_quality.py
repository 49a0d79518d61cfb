"""Missing cells, hardly text and abuse are found; ordinary rows are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.curation.quality import abuse, detect
from core.curation.tools import Tools
from core.datasets.samples import FOLDER
from tests.curation.planting import precision_recall, rows_of, table_of

BAD = {
    "lorem ipsum dolor sit amet, nothing to see": "filler",
    "asdkjh qwrtz zxcvbn sdfghjkl": "hardly_text",
    "!!!!!!!!!!!!!!!": "hardly_text",
    "aaaaaaaaaaaaaaaaaaaa": "hardly_text",
    "the same again " * 30: "repetition",
    " ".join(["buy now"] * 8): "repetition",
    "\n".join(["great"] * 9): "repetition",
    "buy now! " * 4: "repetition",
    "We use cookies to make this site better. Skip to content": "boilerplate",
    "<div><table><tr><td>Order</td><td>12</td></tr></table></div>": "markup",
    "N/A": "placeholder",
    "TODO": "placeholder",
}
GOOD = [
    "The XML <note> tag shows up in my export, is that right?",
    "My order number is BXTRQ-99812, tracking LKJHG1234.",
    "Please rhythm-check my strengths and lengths, thanks.",
    "Angstschweiß und Rechtsschutzversicherung",
    "你好",
    "👍👍👍👍👍👍👍👍",
    "no no no no no",
    "It is very very very very slow, and I am very very angry.",
    "Tick tock, tick tock, tick tock: how long will my refund take this time?",
    "def f(x):\n    return x * 2  # twice",
    "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15",
    "Scunthorpe and Essex, assess the class assignment, cocktail at Sussex",
]


def tickets() -> list[dict[str, str]]:
    lines = (FOLDER / "support-tickets.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_planted_faults_are_found_with_their_rule(tmp_path: Path) -> None:
    clean = [row["body"] for row in tickets()] + GOOD
    texts = [*clean, *BAD]
    findings = detect(table_of(tmp_path, {"text": texts}), Tools(tmp_path))
    planted = range(len(clean), len(texts))
    precision, recall = precision_recall(rows_of(findings, "quality"), planted)
    print(f"quality: precision {precision:.2f}, recall {recall:.2f}")
    assert (precision, recall) == (1.0, 1.0)
    rules = {found.rows[0]: found.detail["rule"] for found in findings}
    assert [rules[row] for row in planted] == list(BAD.values())


def test_clean_samples_give_nothing(tmp_path: Path) -> None:
    rows = tickets()
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    assert detect(table_of(tmp_path, columns, {"label": "expected"}), Tools(tmp_path)) == []


def test_missing_cells_are_one_finding_a_column_and_weigh_by_role(tmp_path: Path) -> None:
    values = {"q": ["a b", None, " ", "c d"], "a": [None, "x", "y", "z"], "m": [None] * 4}
    findings = detect(
        table_of(tmp_path, values, {"a": "expected", "m": "metadata"}), Tools(tmp_path)
    )
    assert [(f.kind, f.column, f.rows, f.severity) for f in findings] == [
        ("missing", "q", (1, 2), "medium"),
        ("missing", "a", (0,), "high"),
        ("missing", "m", (0, 1, 2, 3), "low"),
    ]
    assert findings[0].message == "q is empty in 2 rows of 4 (50.0%)."


def test_a_constant_column_is_told(tmp_path: Path) -> None:
    findings = detect(table_of(tmp_path, {"q": ["the same"] * 10}), Tools(tmp_path))
    assert [(f.rows, f.detail["rule"]) for f in findings] == [((), "constant")]


def test_a_label_may_be_called_unknown(tmp_path: Path) -> None:
    labels = ["unknown", "known", "other", "known"] * 5
    table = table_of(tmp_path, {"label": labels}, {"label": "expected"})
    assert detect(table, Tools(tmp_path)) == []


def test_texts_that_stop_in_the_middle(tmp_path: Path) -> None:
    whole = [f"This is the whole text number {i} and it has an end." for i in range(40)]
    cut = ["I wanted to ask whether you could send the invoice to the"]
    findings = detect(table_of(tmp_path, {"q": whole + cut}), Tools(tmp_path))
    assert [(f.rows, f.detail["rule"]) for f in findings] == [((40,), "cut")]
    without_ends = [text.rstrip(".") + " and" for text in whole]
    assert detect(table_of(tmp_path, {"q": without_ends + cut}), Tools(tmp_path)) == []


@pytest.mark.parametrize(
    "text",
    ["You are a fucking moron", "go die", "What a bunch of idiots!", "piece of shit product"],
)
def test_abuse_is_found_by_whole_words(text: str) -> None:
    assert abuse(text)


@pytest.mark.parametrize("text", [*GOOD, "The firmware is retarding the boot", "dickens", "a hell"])
def test_other_words_are_no_abuse(text: str) -> None:
    assert abuse(text) is None


def test_threats_weigh_more_and_messages_do_not_spell_it_out(tmp_path: Path) -> None:
    values = {"q": ["kill yourself", "you asshole", "thank you"]}
    findings = detect(table_of(tmp_path, values), Tools(tmp_path))
    toxic = [found for found in findings if found.kind == "toxicity"]
    assert [(f.rows, f.severity) for f in toxic] == [((0,), "high"), ((1,), "medium")]
    assert toxic[1].message == "An abusive word: “a•••••e”."


def test_odd_cells(tmp_path: Path) -> None:
    cells = [None, "", "word " * 200_000, "x" * 1_000_000]
    rows = rows_of(detect(table_of(tmp_path, {"q": cells}), Tools(tmp_path)), "quality")
    assert rows == {2, 3}
    assert detect(table_of(tmp_path, {"q": []}), Tools(tmp_path)) == []
    numbers = table_of(tmp_path, {"n": [1, None, 3]}, types={"n": "integer"})
    assert [found.kind for found in detect(numbers, Tools(tmp_path))] == ["missing"]
