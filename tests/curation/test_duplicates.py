"""Exact and near duplicates against brute force; semantic ones by the real MiniLM."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.curation import duplicates, meaning
from core.curation.alike import exact_groups, near_groups
from core.curation.duplicates import find_groups, threshold_of
from core.curation.embeddings import embedding_model_path
from core.curation.findings import Finding, write_findings
from core.curation.groups import Group
from core.curation.shingles import exact_form, likeness, plain_form, shingled
from core.curation.tools import Tools
from core.errors import Invalid, ModelUnavailable
from tests.curation.duplicating import plant, slow_likeness
from tests.curation.planting import table_of

QUESTIONS = [
    "How do I reset my password?",
    "Where is my order?",
    "how do i reset my  password",
    "I forgot my password, how can I change it?",
    "Which city is France's capital?",
    "",
    "What is the capital of France?",
    "What is the capital of Spain?",
    "How do I reset my router?",
]
TEXTS = st.text(st.sampled_from("abc XY.é中👍\n"), max_size=30) | st.text(max_size=12)


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    return Tools(cache=tmp_path / "cache")


@pytest.fixture
def minilm(starter_home: Path, tmp_path: Path) -> Tools:
    return Tools(cache=tmp_path / "cache", embedding_model=embedding_model_path(starter_home))


def rows_in(groups: list[Group]) -> list[tuple[int, ...]]:
    return [group.rows for group in groups]


@given(TEXTS, TEXTS)
def test_likeness_is_the_jaccard_index_of_character_sets_written_the_slow_way(
    one: str, other: str
) -> None:
    assert likeness(one, other) == pytest.approx(slow_likeness(one, other))
    assert likeness(one, other) == likeness(other, one)


@given(st.integers(0, 10_000), st.integers(100, 230), st.integers(0, 12))
def test_likeness_is_right_where_short_and_long_texts_meet(
    seed: int, length: int, changes: int
) -> None:
    rng = random.Random(seed)
    one = "".join(rng.choices("abcdefgh ", k=length))
    other = list(one)
    for _ in range(changes):
        other[rng.randrange(length)] = rng.choice("abcdefgh ")
    assert likeness(one, "".join(other)) == pytest.approx(slow_likeness(one, "".join(other)))


@given(st.lists(TEXTS, max_size=30), st.integers(1, 7))
def test_exact_groups_are_those_of_a_dictionary(texts: list[str], size: int) -> None:
    tools = Tools(cache=Path(os.devnull))
    batches = [texts[at : at + size] for at in range(0, len(texts), size)]
    by_form: dict[str, list[int]] = {}
    for row, text in enumerate(texts):
        if exact_form(text):
            by_form.setdefault(exact_form(text), []).append(row)
    assert rows_in(exact_groups(batches, tools)) == sorted(
        tuple(rows) for rows in by_form.values() if len(rows) > 1
    )


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([4, 12, 25, 40, 90]))
def test_near_groups_hold_every_close_pair_and_no_link_below_the_threshold(
    seed: int, words: int
) -> None:
    made = plant(60, words=words, most_changed=max(1, words // 12), seed=seed)
    texts = [*made.texts, made.texts[0].upper(), "", "!!!", "短い文です", "短い文です。"]
    tools = Tools(cache=Path("/tmp"))  # noqa: S108 - only an unnamed file
    groups = near_groups([texts[:50], texts[50:]], tools)
    group_of = {row: at for at, group in enumerate(groups) for row in group.rows}
    for group in groups:
        assert all(link.similarity >= 0.8 for link in group.links)
        for link in (*group.links, *group.pairs):
            a, b = link.rows
            assert link.similarity == pytest.approx(slow_likeness(texts[a], texts[b]))
        assert len({exact_form(texts[row]) for row in group.rows}) > 1
    for a, one in enumerate(texts):
        for b in range(a + 1, len(texts)):
            if exact_form(one) == exact_form(texts[b]):
                continue  # alone they are exact duplicates and no near ones
            # at 0.9 the bands miss one pair in a hundred million
            if slow_likeness(one, texts[b]) >= 0.9:
                assert group_of[a] == group_of[b]


def test_of_planted_pairs_at_the_threshold_nearly_all_are_found_and_none_is_wrong(
    tools: Tools,
) -> None:
    made = plant(1_500, words=60, most_changed=5)
    groups = near_groups([made.texts], tools)
    group_of = {row: at for at, group in enumerate(groups) for row in group.rows}
    alike = [(a, b) for a, b in made.near if slow_likeness(made.texts[a], made.texts[b]) >= 0.8]
    assert len(alike) > 100
    found = sum(group_of.get(a, -1) == group_of.get(b, -2) for a, b in alike)
    assert found / len(alike) >= 0.99
    texts = made.texts
    links = [link for group in groups for link in group.links]
    assert all(slow_likeness(*(texts[row] for row in link.rows)) >= 0.8 for link in links)


def test_short_texts_of_a_few_words_are_compared_too(tools: Tools) -> None:
    texts = [
        "Reset my password",
        "Reset my pasword",
        "reset my password!",
        "Pay my bill",
        "a",
        "a!",
    ]
    assert rows_in(near_groups([texts], tools)) == [(0, 1, 2), (4, 5)]
    assert rows_in(near_groups([texts], tools, threshold=0.9)) == [(0, 2), (4, 5)]


def test_sums_that_differ_in_a_sign_are_no_duplicates(tools: Tools) -> None:
    texts = ["What is 12 + 30?", "What is 12 * 30?", "What is 12 + 45?", "What is 12 + 30"]
    assert rows_in(near_groups([texts], tools)) == [(0, 3)]


def test_an_exact_duplicate_is_listed_in_a_near_group_but_makes_none(tools: Tools) -> None:
    texts = ["one two three four", "one two three four ", "One two three, four", "five", "five"]
    assert rows_in(exact_groups([texts], tools)) == [(0, 1), (3, 4)]
    assert rows_in(near_groups([texts], tools)) == [(0, 1, 2)]


def test_a_chain_is_told_from_a_group_that_is_alike_all_through(tools: Tools) -> None:
    words = [f"word{number:02}" for number in range(40)]
    steps = [[*(f"new{n:02}" for n in range(done)), *words[done:]] for done in range(0, 12, 3)]
    (group,) = near_groups([[" ".join(step) for step in steps]], tools)
    assert group.rows == (0, 1, 2, 3)
    assert group.is_chain(0.8)
    assert group.weakest is not None
    assert group.weakest.similarity >= 0.8
    assert group.farthest is not None
    assert group.farthest.rows == (0, 3)


def test_a_crowd_of_nearly_the_same_rows_is_one_group_and_quick(tools: Tools) -> None:
    body = " ".join(f"word{number}" for number in range(60))
    texts = [f"{body} ticket {number}" for number in range(3_000)]
    begin = time.process_time()
    (group,) = near_groups([texts], tools)
    assert len(group.rows) == 3_000
    assert len(group.links) == 2_999
    assert time.process_time() - begin < 30


def test_odd_cells_come_through(tools: Tools) -> None:
    huge = "x y " * 600_000
    texts = ["", "\n\t ", "...", "…", "👍👍", "👍 👍", huge, huge + "z", "\u0301", "ﬀ", "ff", "中"]
    assert rows_in(exact_groups([texts], tools)) == []
    # of a huge text the first million characters are compared
    assert rows_in(near_groups([texts], tools)) == [(6, 7), (9, 10)]


@pytest.mark.parametrize("size", [3, 5])
def test_n_grams_never_reach_into_the_next_text(size: int) -> None:
    flat, offsets = shingled(["a", "abcdefgh", "中文"], size)
    for at, form in enumerate(["a", "abcdefgh", "中文"]):
        alone, _ = shingled([form], size)
        np.testing.assert_array_equal(flat[offsets[at] : offsets[at + 1]], alone)
    assert offsets[-1] == len(flat)


def test_a_plain_form_keeps_letters_of_every_script() -> None:
    assert plain_form("  Héllo,\nWORLD!  ") == "héllo world"
    assert plain_form("हिन्दी, भाषा।") == "हिन्दी भाषा"
    assert plain_form("?!") == "?!"


def test_findings_name_the_rows_the_weakest_link_and_labels_that_disagree(
    tmp_path: Path, tools: Tools
) -> None:
    table = table_of(
        tmp_path,
        {
            "text": ["Where is my order 17?", "Pay the bill", "where is my order 17",
                     "Pay the bill", "Pay the bill", None],
            "label": ["delivery", "billing", "delivery", "refund", "billing", "other"],
        },
        roles={"label": "expected"},
    )  # fmt: skip
    (exact,) = duplicates.exact(table, tools)
    assert (exact.kind, exact.severity, exact.rows) == ("exact_duplicate", "high", (1, 3, 4))
    assert exact.message == (
        "3 rows have the same text; their labels disagree: billing (2), refund (1)."
    )
    assert exact.detail["labels"] == {"billing": [1, 4], "refund": [3]}
    (near,) = duplicates.near(table, tools)
    assert (near.kind, near.severity, near.rows) == ("near_duplicate", "medium", (0, 2))
    assert write_findings(tmp_path / "found.parquet", [exact, near]) == 2


def test_a_finding_tells_how_alike_its_rows_are(tmp_path: Path, tools: Tools) -> None:
    one = "The parcel that I ordered on Monday has not arrived at my home in Berlin yet"
    table = table_of(tmp_path, {"text": [one, one + "!", one.replace("Monday", "Sunday")]})
    (near,) = duplicates.near(table, tools)
    similarity = round(slow_likeness(one, one.replace("Monday", "Sunday")), 4)
    assert near.detail["weakest"] == {"rows": [0, 2], "similarity": similarity}
    assert near.detail["links"] == [[0, 2, similarity]]
    assert near.detail["chain"] is False


def test_a_threshold_that_is_impossible_names_what_is_possible(tmp_path: Path) -> None:
    table = table_of(tmp_path, {"text": ["a", "b"]})
    with pytest.raises(Invalid, match=r"between 0\.7 and 1"):
        duplicates.near(table, Tools(cache=tmp_path, options={"threshold": 0.2}))
    with pytest.raises(Invalid, match="'sounds'"):
        threshold_of("sounds")
    assert threshold_of("exact", 0.3) == 1.0


def test_a_table_without_text_has_no_duplicates(tmp_path: Path, tools: Tools) -> None:
    table = table_of(tmp_path, {"n": [1, 1]}, types={"n": "integer"})
    for detect in (duplicates.exact, duplicates.near, duplicates.semantic):
        assert detect(table, tools) == []


def test_looking_stops_when_somebody_asks(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop() -> None:
        raise Stop

    for kind in ("exact", "near"):
        with pytest.raises(Stop):
            find_groups(kind, lambda: [["a"]], Tools(cache=tmp_path, check=stop))
    assert list(tmp_path.iterdir()) == []  # nothing is left of what waited on disk


def test_without_a_model_rows_of_the_same_meaning_cannot_be_found(tools: Tools) -> None:
    with pytest.raises(ModelUnavailable):
        find_groups("semantic", lambda: [QUESTIONS], tools)


@pytest.mark.starter
def test_minilm_finds_paraphrases_and_leaves_other_questions_alone(
    tmp_path: Path, minilm: Tools
) -> None:
    table = table_of(tmp_path, {"text": QUESTIONS})
    found: list[Finding] = duplicates.semantic(table, minilm)
    # row 2 is row 0 without its capital letter: listed, but no finding of its own
    assert [finding.rows for finding in found] == [(0, 2, 3), (4, 6)]
    assert all(f.kind == "semantic_duplicate" and f.severity == "low" for f in found)
    assert found[0].detail["weakest"]["rows"] == [0, 3]
    assert found[0].detail["weakest"]["similarity"] > 0.8


@pytest.mark.starter
def test_answers_differ_by_nature_but_labels_do_not(tmp_path: Path, minilm: Tools) -> None:
    texts = [QUESTIONS[4], QUESTIONS[6], QUESTIONS[0], QUESTIONS[3]] + [""] * 8
    free = [f"Answer {number}" for number in range(12)]
    (told, _) = duplicates.semantic(
        table_of(tmp_path, {"q": texts, "a": free}, roles={"a": "expected"}), minilm
    )
    assert told.severity == "low"
    label = ["geography", "travel", "account", "account"] + ["none"] * 8
    (told, other) = duplicates.semantic(
        table_of(tmp_path, {"q": texts, "a": label}, roles={"a": "expected"}), minilm
    )
    assert told.severity == "high"
    assert told.detail["labels"] == {"geography": [0], "travel": [1]}
    assert other.severity == "low"


def vectors_in_topics(count: int, close: int, seed: int = 0) -> np.ndarray:
    """Unit vectors around 60 topics, the first `close` of them once more a little turned."""
    rng = np.random.default_rng(seed)
    topics = rng.normal(size=(60, 96))
    made = topics[rng.integers(0, 60, count)] * 0.7 + rng.normal(size=(count, 96))
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    turned = made[:close] + rng.normal(size=(close, 96)) * 0.05
    return np.concatenate([made, turned / np.linalg.norm(turned, axis=1, keepdims=True)]).astype(
        np.float32
    )


def test_clusters_miss_few_of_the_pairs_that_comparing_each_with_each_finds(
    tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = vectors_in_topics(3_000, 600)
    all_pairs = {(a, b) for a, b, _ in meaning._close(vectors, 0.8, tools)}
    cosines = np.triu(vectors @ vectors.T, 1)
    assert all_pairs == set(map(tuple, np.argwhere(cosines >= 0.8).tolist()))
    monkeypatch.setattr(meaning, "EXHAUSTIVE", 1_000)
    clustered = list(meaning._close(vectors, 0.8, tools))
    assert len(clustered) == len({(a, b) for a, b, _ in clustered})
    assert len(all_pairs & {(a, b) for a, b, _ in clustered}) / len(all_pairs) >= 0.97


def test_groups_of_meaning_do_not_become_chains() -> None:
    angles = np.arange(12) * 0.45  # neighbours have a cosine of 0.9
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    edges = [(at, at + 1, float(vectors[at] @ vectors[at + 1])) for at in range(11)]
    kept = meaning._tight(edges, vectors, 0.8)
    assert 0 < len(kept) < 11
    assert all(one[1] <= other[0] for one, other in zip(kept[::2], kept[1::2], strict=False))


@pytest.mark.starter
def test_numbers_and_codes_say_nothing_that_could_be_the_same(
    tmp_path: Path, minilm: Tools
) -> None:
    table = table_of(tmp_path, {"text": ["17", "18", "A-4711", "A-4712", "ok", "OK then"]})
    assert duplicates.semantic(table, minilm) == []
