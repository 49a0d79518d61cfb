"""What a check found: the template twice, lengths, what is left out, examples with their loss mask.

    job = finetune_check.job_of(check)
    found = finetune_check.report(job)
    finetune_check.draw(job, found, same=check["key"] == finetune_check.key_of(config))

`check` is `{"job_id", "key"}`: the job, and the config that it was about.
Knows: how a report reads. Does not know: how rows are tokenized.
"""

from __future__ import annotations

import contextlib
import html
import json

import streamlit as st

from app import job_progress, observe, tables, text, ui
from app.chart_style import INK, faded
from core.errors import LatheError
from core.store.database import Row

BOX = (
    "font-family:'JetBrains Mono',ui-monospace,monospace;font-size:0.86rem;line-height:1.6;"
    "white-space:pre-wrap;overflow-wrap:anywhere;padding:0.65rem 0.9rem;margin:0;"
    "border:1px solid rgba(128,136,146,0.35);border-radius:6px;overflow:auto;"
)
TALLEST = 300


def key_of(config: Row) -> str:
    """What a check is about: the config without its name."""
    return json.dumps({k: v for k, v in config.items() if k != "name"}, sort_keys=True)


def job_of(check: Row | None) -> Row | None:
    """The job of a check; None where none was asked for, or it is gone: drafts outlive jobs."""
    return job_progress.found(check["job_id"]) if check else None


def report(job: Row | None) -> Row | None:
    """What the job found; None before its end, or where it found nothing."""
    if job is None or job_progress.is_going(job):
        return None
    with contextlib.suppress(LatheError):
        found: Row | None = ui.workbench().finetunes.report(ui.actor(), job["id"])
        return found
    return None


def draw(job: Row | None, found: Row | None, *, same: bool) -> None:
    """The bar while it works, else its report; `same`: it is about the config that is shown."""
    if job is None:
        return
    st.markdown("##### What the check found")
    if job_progress.is_going(job):
        job_progress.follow(job["id"], "Waiting for its turn", key="check-stop")
        return
    if found is None:
        _failed(job)
        return
    if not same:
        st.info("The settings changed since this check: check again to know.",
                icon=":material/history:")  # fmt: skip
    notes(found)
    tabs = st.tabs(["Template", "Rows", f"{len(found['examples'])} examples as trained"])
    with tabs[0]:
        template(found["template"])
    with tabs[1]:
        rows(found)
    with tabs[2]:
        examples(found["examples"])


def notes(found: Row) -> None:
    """What stops it in red, what to know in amber, each with what to do; or that all is well."""
    for block in found["blocks"]:
        st.error(_note(block), icon=":material/block:")
    for warning in found["warnings"]:
        st.warning(_note(warning), icon=":material/warning:")
    if not found["blocks"] and not found["warnings"]:
        st.success("Nothing stands in the way: the template is the same in training and "
                   "inference, and every row fits.", icon=":material/check:")  # fmt: skip


def template(found: Row | None) -> None:
    """The text that is trained on and the text that inference sends, side by side."""
    if not found:
        st.caption("No row could be rendered, so there is nothing to compare.")
        return
    if found["same"]:
        st.markdown(":green[:material/check_circle:] **The same up to the answer**, "
                    "sign for sign, for the first row:")  # fmt: skip
    else:
        at = found.get("differs_at")
        where = f" from sign {text.count(at + 1)} on" if at is not None else ""
        st.markdown(f":red[:material/error:] **They differ{where}.** The model would learn to "
                    "answer a text that it is never sent.")  # fmt: skip
    for column, name, side in zip(
        st.columns(2, gap="small"), ("Trained on", "Sent at inference"), ("training", "inference"),
        strict=True,
    ):  # fmt: skip
        with column:
            st.caption(name)
            st.html(_marked(found[side], found.get("differs_at")))


def rows(found: Row) -> None:
    """How many rows, how long, how many are left out and why."""
    lengths = found.get("lengths") or {}
    dropped = {name: n for name, n in (found.get("dropped") or {}).items() if n}
    ui.metric_strip(
        [
            ui.Metric("Trained on", text.count(found["train_rows"])),
            ui.Metric("Held out", text.count(found["eval_rows"])),
            ui.Metric(
                "Left out", text.count(sum(dropped.values())),
                help=", ".join(f"{name}: {n:,}" for name, n in dropped.items()) or None,
            ),
            ui.Metric(
                "Tokens, median / p95",
                f"{text.count(_whole(lengths.get('p50')))} / "
                f"{text.count(_whole(lengths.get('p95')))}",
                help=f"The longest has {text.count(_whole(lengths.get('max')))}",
            ),
            ui.Metric("Rows too long", text.percent(lengths.get("truncated_share"))),
        ]
    )  # fmt: skip
    for title, key in (("Left out", "dropped"), ("Answers", "balance")):
        counts = dropped if key == "dropped" else found.get(key) or {}
        if counts:
            tables.show(
                [{"what": str(name), "count": count} for name, count in counts.items()],
                {"what": tables.text(title, width=360), "count": tables.number("Rows", width=90)},
                alt=f"{title}, with their counts", height="content",
            )  # fmt: skip


def examples(found: list[Row]) -> None:
    """Rows exactly as they are tokenized: what counts in the loss is tinted."""
    ink = INK[observe.theme()]
    tint = f"background:{faded(ink['accent'], 0.22)};border-bottom:2px solid {ink['accent']};"
    st.html(
        '<div style="font-size:0.88rem">'
        f'<span style="{tint}border-radius:3px;padding:0 5px">Tinted text</span> counts in the '
        f'loss: the model learns to write it. <span style="color:{ink["muted"]}">Grey text</span> '
        "is only read.</div>"
    )
    for example in found:
        share = example["trained_tokens"] / max(1, example["tokens"])
        st.caption(
            f"Row `{example['row_id']}` · {text.plural(example['tokens'], 'token')}, "
            f"{text.count(example['trained_tokens'])} of them trained ({text.percent(share)})"
        )
        pieces = "".join(_piece(one, tint, ink["muted"]) for one in example["pieces"])
        st.html(f'<div style="{BOX}max-height:{TALLEST}px" tabindex="0">{pieces}</div>')


def _piece(piece: Row, tint: str, grey: str) -> str:
    said = html.escape(piece["text"])
    if piece["trained"]:
        return f'<mark style="{tint}color:inherit;border-radius:2px">{said}</mark>'
    return f'<span style="color:{grey}">{said}</span>'


def _marked(said: str, at: int | None) -> str:
    """The text, the place where it parts from the other marked, and what follows it tinted."""
    if at is None:
        body = html.escape(said)
    else:
        bad = INK[observe.theme()]["bad"]
        body = (
            f"{html.escape(said[:at])}"
            f'<span style="border-left:3px solid {bad};background:{faded(bad, 0.16)}">'
            f"{html.escape(said[at:]) or '(ends here)'}</span>"
        )
    return f'<div style="{BOX}max-height:{TALLEST}px" tabindex="0">{body}</div>'


def _note(one: Row) -> str:
    hint = f"  \n{text.escape(one['hint'])}" if one.get("hint") else ""
    return f"{text.escape(one['message'])}{hint}"


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _failed(job: Row) -> None:
    error = job.get("error") or {
        "title": "The check did not end", "message": "It was stopped.", "hint": "Check again.",
    }  # fmt: skip
    ui.error_box(error["title"], error["message"], error.get("hint"))
