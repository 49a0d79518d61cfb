"""Signals: numbers that describe each row's text, stored beside the version as columns.

    signals.parquet   row_id, row_index, a column for each of SIGNALS, language
    signals.json      how each is spread: for charts, so that nobody computes it for every look

All but language and perplexity are computed for whole batches in arrays: a million rows take
minutes. Language is dear, so on large data it is told of some rows, spread evenly; perplexity is
the dearest, an option, and then of fewer rows. `signals.json` says of how many.

Knows: what is computed of a text. Does not know: what is good or bad (`quality` judges).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.curation.repetition import LIMITS, numbered, repetition
from core.curation.tools import Tools
from core.datasets.table import Table, connect, quoted
from core.errors import Invalid
from core.store.files import write_json

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Signal:
    """One column of numbers."""

    label: str
    meaning: str
    worst: str
    """`high` or `low`: which end is looked at first."""
    unit: str = "share"
    """`share` (0 to 1), `count` or `score`."""


SIGNALS: dict[str, Signal] = {
    "characters": Signal("Characters", "Length of the row's text", "high", "count"),
    "words": Signal("Words", "Between white space", "high", "count"),
    "tokens": Signal("Tokens", "By the tokenizer named above", "high", "count"),
    "reading_ease": Signal(
        "Reading ease", "Flesch 1948: 60 is plain English, below 30 hard", "low", "score"
    ),
    "type_token_ratio": Signal(
        "Type-token ratio", "Distinct words among all; falls with length", "low"
    ),
    "non_ascii_share": Signal("Non-ASCII", "Characters beyond ASCII", "high"),
    "duplicate_line_share": Signal("Duplicate lines", "Lines that stood before", "high"),
    "duplicate_line_character_share": Signal(
        "In duplicate lines", "Characters in lines that stood before", "high"
    ),
    "top_2gram_share": Signal("Top 2-gram", "Characters in the most frequent word pair", "high"),
    "top_3gram_share": Signal("Top 3-gram", "Characters in the most frequent triple", "high"),
    "top_4gram_share": Signal("Top 4-gram", "Characters in the most frequent four words", "high"),
    "repeated_5gram_share": Signal(
        "Repeated 5-grams", "Characters in five words that occur again", "high"
    ),
    "perplexity": Signal(
        "Perplexity", "How surprised the language model is, per token", "high", "score"
    ),
}
JUDGED_CHARACTERS = 50_000
"""Of a longer text the first so many are looked at; its length is counted whole."""
CHUNK_CHARACTERS = 4_000_000
BATCH_BYTES = 32_000_000
LANGUAGE_ROWS = 50_000
"""The language is told of this many rows, spread evenly; it takes most of the time."""
PERPLEXITY_ROWS = 500
ENGLISH_ENOUGH = 0.3
"""With a larger share of non-ASCII characters a reading ease made for English says nothing."""
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~“”‘’«»„…—–"
SENTENCE_END = r"[.!?…。！？]+(?:\s|$)|\n+"


def write_signals(
    table: Table, folder: Path, tools: Tools, tokenizer: Path | None
) -> tuple[int, dict[str, Any]]:
    """Compute and write `signals.parquet` and `signals.json`; no findings, and what was sampled.

    Options: `language` (true), `perplexity` (false), `perplexity_rows` (500).
    """
    import pyarrow.parquet as pq

    options = _options(tools.options)
    row_count = table.count()
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / "signals.unfinished"
    reader = Reader(tools, tokenizer, row_count, options)
    done = 0
    try:
        with pq.ParquetWriter(unfinished, _schema(), compression="zstd") as writer:
            for ids, texts in _chunks(table, row_count):
                tools.check()
                writer.write_table(reader.table(ids, texts))
                done += len(texts)
                tools.tell(0.95 * done / row_count, f"{done:,} of {row_count:,} rows")
        os.replace(unfinished, folder / "signals.parquet")
    finally:
        unfinished.unlink(missing_ok=True)
    notes = reader.notes()
    write_json(folder / "signals.json", {**summary(folder / "signals.parquet"), **notes})
    return 0, notes


def summary(path: Path) -> dict[str, Any]:
    """`row_count`, `languages` (value, count; most first) and `signals`: by name `rows` that have
    it, min, p50, p95, max, `histogram`, and `over`: rows beyond Gopher's limit, where it has one.
    """
    from core.curation.profile import EXACT_ROWS, histogram

    connection = connect()
    relation = f"read_parquet('{str(path).replace(chr(39), chr(39) * 2)}')"
    try:
        total = connection.execute(f"SELECT count(*) FROM {relation}").fetchone()[0]
        found = {}
        for name, signal in SIGNALS.items():
            cell = quoted(name)
            row = connection.execute(
                f"SELECT count({cell}), min({cell}), approx_quantile({cell}, 0.5),"
                f" approx_quantile({cell}, 0.95), max({cell}),"
                f" count(*) FILTER (WHERE {cell} > $limit) FROM {relation}",
                {"limit": LIMITS.get(name, math.inf)},
            ).fetchone()
            spread = dict(zip(("rows", "min", "p50", "p95", "max", "over"), row, strict=True))
            spread["limit"] = LIMITS.get(name)
            spread["histogram"] = histogram(
                connection, cell, name, relation=relation, exact=total <= EXACT_ROWS,
                whole=signal.unit == "count",
            )  # fmt: skip
            found[name] = spread
        languages = connection.execute(
            f"SELECT language, count(*) AS n FROM {relation} WHERE language IS NOT NULL"
            " GROUP BY language ORDER BY n DESC, language"
        ).fetchall()
    finally:
        connection.close()
    return {
        "row_count": total,
        "signals": found,
        "languages": [{"value": value, "count": count} for value, count in languages],
    }


class Reader:
    """Computes the columns of one chunk after another."""

    def __init__(
        self, tools: Tools, tokenizer: Path | None, row_count: int, options: Mapping[str, Any]
    ) -> None:
        from core.curation.profile import load_tokenizer, tokenizer_name

        self._tools = tools
        self._options = options
        self._language_every = max(1, math.ceil(row_count / LANGUAGE_ROWS))
        self._encoder = load_tokenizer(tokenizer) if tokenizer is not None else None
        self._tokenizer_name = tokenizer_name(tokenizer) if tokenizer is not None else None
        self._perplexity_every = max(1, math.ceil(row_count / options["perplexity_rows"]))
        self._perplexity: Any = None
        if options["perplexity"]:
            from core.curation.perplexity import Perplexity

            self._perplexity = Perplexity(tokenizer)
        self._seen = self._language_rows = self._perplexity_rows = 0

    def table(self, ids: Any, texts: Sequence[str]) -> Any:
        """One Arrow table of all columns for these rows."""
        import numpy as np
        import pyarrow as pa

        cut = [text[:JUDGED_CHARACTERS] for text in texts]
        languages = self._languages(cut)
        columns: dict[str, Any] = {
            "characters": np.array([len(text) for text in texts], np.float64),
            **lexical(cut),
            **repetition(cut),
            "tokens": self._tokens(cut),
            "perplexity": self._perplexities(cut),
        }
        foreign = np.array([code not in (None, "en") for code in languages], bool)
        columns["reading_ease"][foreign] = np.nan
        self._seen += len(texts)
        schema = _schema()
        arrays = [ids.column("row_id"), ids.column("row_index")]
        for name in schema.names[2:-1]:
            values = columns[name]
            empty = np.isnan(values)
            kept = np.where(empty, 0, values)
            arrays.append(pa.array(kept, mask=empty).cast(schema.field(name).type, safe=False))
        arrays.append(pa.array(languages, pa.string()))
        return pa.Table.from_arrays(arrays, schema=schema)

    def notes(self) -> dict[str, Any]:
        """What was counted by what, and for how many rows."""
        return {
            "tokenizer": self._tokenizer_name,
            "language_rows": self._language_rows,
            "perplexity_rows": self._perplexity_rows,
        }

    def _chosen(self, count: int, every: int) -> range:
        """Every n-th row of the version, as places in this chunk."""
        return range((-self._seen) % every, count, every)

    def _languages(self, texts: Sequence[str]) -> list[str | None]:
        from core.curation.language import languages

        found: list[str | None] = [None] * len(texts)
        if self._options["language"]:
            chosen = self._chosen(len(texts), self._language_every)
            told = languages([texts[at] for at in chosen])
            for at, (code, _) in zip(chosen, told, strict=True):
                found[at] = code
            self._language_rows += len(chosen)
        return found

    def _tokens(self, texts: Sequence[str]) -> Array:
        import numpy as np

        from core.curation.profile import count_tokens

        if self._encoder is None:
            return np.full(len(texts), np.nan)
        return np.array(count_tokens(self._encoder, texts), np.float64)

    def _perplexities(self, texts: Sequence[str]) -> Array:
        """Of every n-th row, where it was asked for."""
        import numpy as np

        found = np.full(len(texts), np.nan)
        if self._perplexity is None:
            return found
        chosen = self._chosen(len(texts), self._perplexity_every)
        values = self._perplexity.of([texts[at] for at in chosen], self._tools)
        for at, value in zip(chosen, values, strict=True):
            if value is not None:
                found[at] = value
                self._perplexity_rows += 1
        return found


def lexical(texts: Sequence[str]) -> dict[str, Array]:
    """`words`, `type_token_ratio`, `non_ascii_share` and `reading_ease` of each text, NaN where
    there is nothing to tell.

    Reading ease is Flesch's (1948): 206.835 - 1.015 words/sentences - 84.6 syllables/words, with
    syllables counted as groups of vowels, a silent final e left out; a line's end ends a sentence.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    array = pa.array(texts, pa.string())
    count = len(texts)
    length = pc.utf8_length(array).to_numpy(zero_copy_only=False)
    beyond = pc.count_substring_regex(array, r"[^\x00-\x7F]").to_numpy(zero_copy_only=False)
    sentences = pc.count_substring_regex(array, SENTENCE_END).to_numpy(zero_copy_only=False)
    lists = pc.utf8_split_whitespace(array)
    plain = pc.utf8_trim(pc.utf8_lower(lists.flatten()), characters=PUNCTUATION)
    owner, number, _ = numbered(pa.ListArray.from_arrays(lists.offsets, plain))
    per_word = _syllables(plain.dictionary_encode().dictionary)
    words = np.bincount(owner, minlength=count).astype(np.float64)
    syllables = np.bincount(owner, weights=per_word[number], minlength=count)
    pairs = np.unique(owner * (int(number.max(initial=0)) + 1) + number)
    distinct = np.bincount(pairs // (int(number.max(initial=0)) + 1), minlength=count)
    some = np.where(words > 0, words, np.nan)
    ease = 206.835 - 1.015 * some / np.maximum(sentences, 1) - 84.6 * syllables / some
    share = beyond / np.where(length > 0, length, np.nan)
    return {
        "words": words,
        "type_token_ratio": distinct / some,
        "non_ascii_share": share,
        "reading_ease": np.where(share <= ENGLISH_ENOUGH, ease, np.nan),
    }


def _syllables(words: Any) -> Array:
    """Of each distinct word; at least one."""
    import numpy as np
    import pyarrow.compute as pc

    groups = pc.count_substring_regex(words, "[aeiouy]+").to_numpy(zero_copy_only=False)
    silent = pc.match_substring_regex(words, "[^aeiouyl]e$").to_numpy(zero_copy_only=False)
    found: Array = np.maximum(groups - silent.astype(np.int64), 1).astype(np.float64)
    return found


def _chunks(table: Table, row_count: int) -> Iterator[tuple[Any, list[str]]]:
    """Row ids and texts, in pieces of bounded size however long the cells are."""
    names = table.text_columns()
    for batch in table.batches(["row_id", "row_index", *names], _batch_rows(table, row_count)):
        columns = [batch.column(name).to_pylist() for name in names]
        texts = [
            "\n".join(str(value) for value in row if value is not None)
            for row in (zip(*columns, strict=True) if columns else [()] * batch.num_rows)
        ]
        begin = size = 0
        for at, text in enumerate(texts):
            size += len(text)
            if size >= CHUNK_CHARACTERS or at + 1 == len(texts):
                yield batch.slice(begin, at + 1 - begin), texts[begin : at + 1]
                begin, size = at + 1, 0


def _batch_rows(table: Table, row_count: int) -> int:
    import pyarrow.parquet as pq

    footer = pq.read_metadata(table.path)
    size = sum(footer.row_group(at).total_byte_size for at in range(footer.num_row_groups))
    return int(min(4_096, max(16, BATCH_BYTES // max(1, size // max(1, row_count)))))


def _schema() -> Any:
    import pyarrow as pa

    kinds = {"count": pa.int64(), "share": pa.float32(), "score": pa.float32()}
    return pa.schema(
        [("row_id", pa.string()), ("row_index", pa.int64())]
        + [(name, kinds[signal.unit]) for name, signal in SIGNALS.items()]
        + [("language", pa.string())]
    )


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    found = {"language": True, "perplexity": False, "perplexity_rows": PERPLEXITY_ROWS, **given}
    for name in ("language", "perplexity"):
        if not isinstance(found[name], bool):
            raise Invalid(f"{name} is true or false.", field=name)
    rows = found["perplexity_rows"]
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
        raise Invalid("perplexity_rows is a number of rows.", field="perplexity_rows")
    return found
