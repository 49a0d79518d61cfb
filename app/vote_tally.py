"""What blind votes say, with names: who wins, how sure it is, and what can be learned from them.

    vote_tally.show(run, pair, progress, on_vote=again)

Knows: figures in words, the form of a preference dataset, where a fine-tune starts. Does not know:
how votes are cast or counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from app import charts_loop, compare_head, panels, queries, tables, text, ui
from app.observe import model_colours, theme
from core.evals.verdicts import TIES
from core.store.database import Row

WHY = {
    "tie": "a tie",
    "both_bad": "both bad",
}
TIE_LABELS = {"drop": "Left out", "half": "Half a vote each", "ignore": "Not counted"}
OUTCOMES = {
    "outcome": tables.text("Outcome", width="large"),
    "rows": tables.number("Rows"),
    "share": tables.percent("Share"),
}


def show(
    run: Row, pair: tuple[str, str], progress: Row, *, on_vote: Callable[[bool], None]
) -> None:
    """Draw the tally, and below it what to do with the votes."""
    with ui.errors(stop=True):
        tally = queries.read("votes", "tally", run["id"], pair)
    _going_on(progress, on_vote)
    if not tally["vote_count"]:
        ui.empty_state(
            "No votes yet",
            "Answers are compared side by side without names; here it shows then which variant "
            "people prefer, how sure that is, and how far voters agree.",
            icon=":material/how_to_vote:",
        )
        return
    first, second = tally["first"], tally["second"]
    _verdict(tally)
    _strip(tally)
    panels.chart(
        f"Rows by what voters prefer, n = {text.count(tally['row_count'])}",
        charts_loop.votes(tally, colours=model_colours(), theme=theme()),
        rows=_rows(tally),
        columns=OUTCOMES,
        key="vote-outcomes",
        alt=f"{first['name']} wins {tally['first_wins']} rows, {second['name']} "
        f"{tally['second_wins']}",
    )
    _notes(tally)
    if ui.may("datasets.write"):
        _learn(run, pair, tally)


def _going_on(progress: Row, on_vote: Callable[[bool], None]) -> None:
    if not ui.may("votes.write"):
        return
    left, skipped = progress["open_count"], progress["skipped_count"]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if left:
            st.button(f"Vote on {text.plural(left, 'more row')}", icon=":material/how_to_vote:",
                      key="vote-on", type="primary", on_click=on_vote, args=(False,))  # fmt: skip
        elif skipped:
            st.button(f"Go through the {text.count(skipped)} skipped",
                      icon=":material/skip_previous:", key="vote-skipped-on",
                      on_click=on_vote, args=(True,))  # fmt: skip
        elif progress["row_count"]:
            st.success("You have voted on every row.", icon=":material/check_circle:")


def _verdict(tally: Row) -> None:
    """Who wins, in one sentence with its interval."""
    first, second, interval = tally["first"], tally["second"], tally["win_interval"]
    if interval is None:
        st.markdown("#### Neither is preferred on any row so far")
        return
    decided = tally["first_wins"] + tally["second_wins"]
    rate = text.percent_interval(tally["win_rate"], interval["low"], interval["high"])
    rate = rate.replace("[", "\\[")
    st.markdown(
        f"#### {text.escape(second['name'])} wins {rate} of "
        f"{text.plural(decided, 'decided row')} against {text.escape(first['name'])}",
        help="Of the rows that one of the two won; in brackets the 95% interval (Wilson). Ties and "
        "both bad do not enter. Every row counts once, by the most votes on it.",
    )


def _strip(tally: Row) -> None:
    first, second, agreed = tally["first"], tally["second"], tally["agreement"]
    ui.metric_strip(
        [
            ui.Metric(f"{text.escape(second['name'])} wins", text.count(tally["second_wins"])),
            ui.Metric(f"{text.escape(first['name'])} wins", text.count(tally["first_wins"])),
            ui.Metric(
                "Ties / both bad", f"{text.count(tally['ties'])} / {text.count(tally['both_bad'])}",
                help=f"{text.plural(tally['split'], 'more row')} without a majority.",
            ),
            ui.Metric(
                "Voters agree", text.percent(agreed["rate"]),
                help=f"Pairs of votes on the same row that are equal, over "
                f"{text.plural(agreed['row_count'], 'row')} with two voters or more. "
                f"Krippendorff's alpha: {text.significant(agreed['alpha'])}.",
            ),
        ]
    )  # fmt: skip


def _rows(tally: Row) -> list[Row]:
    names = {
        f"{tally['second']['name']} wins": tally["second_wins"],
        f"{tally['first']['name']} wins": tally["first_wins"],
        "Tie": tally["ties"],
        "Both bad": tally["both_bad"],
        "No majority": tally["split"],
    }
    return [
        {"outcome": name, "rows": count, "share": count / tally["row_count"]}
        for name, count in names.items()
    ]


def _notes(tally: Row) -> None:
    versus = {"fixed": tally["second_wins"], "broke": tally["first_wins"],
              "p_value": tally["p_value"]}  # fmt: skip
    said = (
        "No row was won by either: nothing to test."
        if tally["p_value"] is None
        else f"{compare_head.surely(versus)} Exact two-sided sign test over the rows with a winner."
    )
    voters = ", ".join(
        f"{text.escape(one['name'])} {text.count(one['vote_count'])}" for one in tally["voters"]
    )
    parts = [
        said,
        f"{text.plural(tally['vote_count'], 'vote')} on {text.count(tally['row_count'])} of "
        f"{text.plural(tally['different_count'], 'row')} whose answers differ ({voters}); "
        f"{text.count(tally['same_count'])} more have the same answer twice.",
        f"Left was chosen {text.plural(tally['left_count'], 'time')}, right "
        f"{text.count(tally['right_count'])}: each variant stood on either side equally often.",
    ]
    st.caption("  \n".join(parts))
    if tally["picked_count"]:
        st.warning(
            f"{text.plural(tally['picked_count'], 'row')} came up because "
            f"{text.escape(tally['second']['name'])} had lost them: this is no fair sample of the "
            "run. Vote on all rows for a rate that means something.",
            icon=":material/warning:",
        )


def _learn(run: Row, pair: tuple[str, str], tally: Row) -> None:
    """Preference pairs from the votes, and the way to a fine-tune on them."""
    with st.container(border=True, gap="small"):
        st.markdown("**Learn from these votes**")
        st.caption(
            "The preferred answer of each row is chosen, the other rejected: a dataset of "
            "preference pairs, as DPO takes them. Rows that are both bad are left out."
        )
        policy = _policy(run, several=len(tally["voters"]) > 1)
        with ui.errors(stop=True):
            found = queries.read(
                "votes", "outline", run["id"], pair=pair,
                **{name: policy[name] for name in ("ties", "min_votes", "min_agreement")},
            )  # fmt: skip
        _outline(found)
        pairs = text.plural(found["pair_count"], "pair")
        with st.container(horizontal=True, gap="small"):
            tune = ui.may("training.write") and st.button(
                "Fine-tune on these votes", type="primary", icon=":material/model_training:",
                key="vote-finetune", disabled=not found["pair_count"],
                help=f"Makes a dataset version of {pairs} and opens the form of a DPO fine-tune",
            )  # fmt: skip
            only = st.button(
                f"Make a dataset of {pairs}", icon=":material/dataset:", key="vote-dataset",
                disabled=not found["pair_count"],
            )  # fmt: skip
    if tune or only:
        with ui.errors(stop=True):
            version = ui.workbench().votes.preferences(ui.actor(), run["id"], pair=pair, **policy)
        ui.done(f"{version['label']}: {text.plural(version['row_count'], 'pair')}")
        if tune:
            st.switch_page("../pages/finetune.py", query_params=_form(tally, version))
        st.rerun()


def _policy(run: Row, *, several: bool) -> dict[str, Any]:
    """Name, ties, fewest votes and least agreement as chosen."""
    name_place, ties_place, votes_place, agreement_place = st.columns(
        [4, 3, 2, 3], vertical_alignment="bottom"
    )
    name = name_place.text_input(
        "Dataset", key="vote-name", placeholder=f"{run['name']} preferences", max_chars=120,
        help="A further time makes a new version of it",
    )  # fmt: skip
    ties = ties_place.selectbox(
        "Tie votes", list(TIES), format_func=TIE_LABELS.__getitem__, key="vote-ties",
        help=" ".join(f"{TIE_LABELS[name]}: {words}." for name, words in TIES.items()),
    )  # fmt: skip
    min_votes = votes_place.number_input(
        "Votes a row", 1, 20, 1, key="vote-least", disabled=not several, help="At least"
    )
    percent = agreement_place.slider(
        "Agreement on a row", 0, 100, 50, 5, format="%d %%", key="vote-agreement",
        disabled=not several, help="At least that share of the votes on a row for its winner",
    )  # fmt: skip
    return {"name": name, "ties": ties, "min_votes": int(min_votes),
            "min_agreement": percent / 100}  # fmt: skip


def _outline(found: Row) -> None:
    left = ", ".join(
        f"{text.count(count)} {WHY.get(why, why)}" for why, count in found["left_out"].items()
    )
    st.markdown(
        f"{text.plural(found['pair_count'], 'pair')} to learn from."
        + (f" :gray[Left out: {left}.]" if left else "")
    )


def _form(tally: Row, version: Row) -> dict[str, str]:
    """What the form of a fine-tune begins with; the prompt is the one of the variant that wins."""
    winner = tally["second"] if tally["second_wins"] >= tally["first_wins"] else tally["first"]
    return {"new": "1", "method": "dpo", "dataset": version["id"],
            "prompt": winner["prompt_version_id"], "base": winner["model_id"]}  # fmt: skip
