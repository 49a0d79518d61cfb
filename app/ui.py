"""What every page is made of. A page is a script in pages/, top to bottom, no main:

    import streamlit as st
    from app import queries, tables, text, ui

    page = ui.page("Prompts", "Every prompt, its versions and where they are used.", key="prompts")
    with page.actions:                       # right-aligned, beside the title
        st.button("New prompt", type="primary", icon=":material/add:", on_click=new_prompt)

    search = st.text_input("Search", key="q", bind="query-params")   # filters live in the URL
    rows = queries.read("prompts", "list", search=search)            # cached by revision and actor
    if not rows:
        ui.empty_state("No prompts yet", "A prompt is ...", "Add the sample", add_sample)
        st.stop()
    ui.metric_strip([ui.Metric("Requests", text.count(n), delta=0.12, series=[1, 3, 2])])
    row = tables.pick(rows, COLUMNS, key="picked", alt="Prompts by name")
    if row:
        show_detail(row)                     # under @ui.drawer("Prompt", clears="picked")

    with ui.errors():                        # LatheError becomes title, message, hint
        ui.workbench().prompts.create(ui.actor(), name)
        ui.done("Prompt created")            # a toast after the rerun that follows
        st.rerun()

`key` of `ui.page` is the page's name in core/governance/permissions.py PAGES: without the
permission it says so and stops. Callbacks (on_click=) are run inside `ui.errors()` too when
wrapped: `on_click=ui.guarded(function)`. Text that people typed goes through `text.escape` before
it meets Markdown. Destructive acts: `ui.confirm`. Never catch broader than LatheError: the edge in
app/main.py shows the rest with an id to quote.

Knows: the anatomy of a page. Does not know: any noun.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import streamlit as st

from app import auth, resources, tables, text
from core.errors import Invalid, LatheError
from core.governance.permissions import PAGES, Actor, permits, require
from core.workbench import Workbench

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

MAX_ERROR_ROWS = 50


@dataclass(frozen=True, slots=True)
class Page:
    """The drawn head of a page. `actions` is a right-aligned container beside the title."""

    key: str
    actor: Actor
    actions: DeltaGenerator


@dataclass(frozen=True, slots=True)
class Metric:
    """One tile of a strip."""

    label: str
    value: str  # formatted by app.text, unit included
    delta: float | str | None = None  # change against the last period
    delta_note: str | None = None  # such as "than last week"
    good: Literal["up", "down", "neither"] = "up"  # which way is better
    series: Sequence[float | None] | None = None  # sparkline, evenly spaced, oldest first
    help: str | None = None  # n, exact value, how it is computed


def page(title: str, sentence: str, *, key: str, actions_share: float = 0.4) -> Page:
    """Draw the head of a page, or say what is missing and stop the script.

    `key` is the page's name in PAGES; `actions_share` of the width is for the buttons. Shows what
    `done` left from the run before.
    """
    actor = auth.actor()
    with errors(stop=True):
        require(actor, PAGES.get(key), f"opening the page {title}")
    head, right = st.columns(
        [1 - actions_share, actions_share], vertical_alignment="bottom", gap="small"
    )
    with head:
        st.title(title, anchor=False)
        st.caption(sentence)
    actions = right.container(horizontal=True, horizontal_alignment="right", gap="small")
    tell()
    return Page(key, actor, actions)


def tell() -> None:
    """Show what `done` and `guarded` left. A page's head does; so has a fragment with buttons in
    it to, as its run does not reach the head."""
    for message in st.session_state.pop("_done", []):
        st.toast(text.escape(message), icon=":material/check:")
    error = st.session_state.pop("_error", None)
    if error is not None:
        show_error(error)


def workbench() -> Workbench:
    """The open workbench."""
    return resources.workbench()


def actor() -> Actor:
    """The signed-in user."""
    return auth.actor()


def may(permission: str) -> bool:
    """Whether the signed-in user has a permission: to leave out buttons that would refuse."""
    return permits(auth.actor().role, permission)


def done(message: str) -> None:
    """Show words as they are in a toast at the next run of a page: for right before st.rerun or
    in callbacks."""
    st.session_state.setdefault("_done", []).append(message)


@contextlib.contextmanager
def errors(*, stop: bool = False) -> Iterator[None]:
    """Show a LatheError where the block stands; with `stop`, end the script after it."""
    try:
        yield
    except LatheError as error:
        show_error(error)
        if stop:
            st.stop()


def guarded(function: Callable[..., Any]) -> Callable[..., None]:
    """A callback whose LatheError is shown under the title at the run that follows."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except LatheError as error:
            st.session_state["_error"] = error

    return call


def show_error(error: LatheError) -> None:
    """Title, message and hint; for an Invalid with many rows, the rows too."""
    at = None
    if isinstance(error, Invalid) and error.row is not None:
        at = f"Row {text.count(error.row + 1)}, field {error.field or ''}."
    error_box(error.title, error.message, at, error.hint)
    rows = getattr(error, "errors", None)
    if rows:
        st.dataframe(rows[:MAX_ERROR_ROWS], hide_index=True, alt="Every row that is wrong, and why")
        if len(rows) > MAX_ERROR_ROWS:
            st.caption(f"The first {MAX_ERROR_ROWS} of {text.count(len(rows))}.")


def error_box(title: str, *lines: str | None) -> None:
    """What went wrong, here or in a job: a title, then what there is to say, a line each."""
    told = [f"**{text.escape(title)}**", *(text.escape(line) for line in lines if line)]
    st.error("  \n".join(told), icon=":material/error:")


def drawer(
    title: str,
    *,
    width: Literal["small", "medium", "large"] | int = "medium",
    clears: str | None = None,
    on_dismiss: Any = None,
) -> Any:
    """Decorator: the function draws a detail drawer from the right when it is called.

    `clears` is the key of the table it was opened from: closing it clears the selection, else it
    would open again at the next rerun. The title may be made at the call:
    `ui.drawer(text.escape(row["name"]), clears="picked")(show_detail)(row)`.
    """
    if on_dismiss is None:
        on_dismiss = functools.partial(tables.unpick, clears) if clears else "ignore"
    return st.dialog(title, width=width, position="right", on_dismiss=on_dismiss)


def empty_state(
    title: str,
    sentence: str,
    button: str | None = None,
    on_click: Callable[..., Any] | None = None,
    *,
    icon: str = ":material/inbox:",
    args: tuple[Any, ...] = (),
    key: str | None = None,
) -> None:
    """What the page will show, and the one click that gets there. Errors of the click are shown."""
    with (
        st.container(border=True),
        st.container(horizontal_alignment="center", gap="small"),
    ):
        st.space("small")
        st.markdown(f"### {icon} {title}", text_alignment="center", width="content")
        st.markdown(sentence, text_alignment="center", width=560)
        if button:
            st.button(
                button,
                type="primary",
                on_click=guarded(on_click) if on_click else None,
                args=args,
                key=key or f"empty-{title}",
            )
        st.space("small")


def metric_strip(metrics: Sequence[Metric]) -> None:
    """Three to five tiles in a row, of one height."""
    colours = {"up": "normal", "down": "inverse", "neither": "off"}
    for column, metric in zip(st.columns(len(metrics), gap="small"), metrics, strict=True):
        with column:
            st.metric(
                metric.label,
                metric.value,
                delta=metric.delta,
                delta_color=colours[metric.good],
                delta_description=metric.delta_note,
                chart_data=list(metric.series) if metric.series else None,
                chart_type="area",
                help=metric.help,
                border=True,
                height="stretch",
            )


def confirm(
    label: str, consequence: str, on_confirm: Callable[..., Any], *, key: str, args: Any = ()
) -> None:
    """A button that first says what it does: for acts that lose something."""
    with st.popover(label, key=f"{key}-ask"):
        st.markdown(consequence)
        st.button(label, type="primary", on_click=guarded(on_confirm), args=args, key=key)


def neighbours(at: int, total: int, *, key: str, on_move: Callable[[int], Any]) -> None:
    """Previous and Next, by K and J too; `on_move` is called with -1 or 1. `at` is from 0."""
    for label, icon, shortcut, by, last in (
        ("Previous", "keyboard_arrow_up", "K", -1, at <= 0),
        ("Next", "keyboard_arrow_down", "J", 1, at + 1 >= total),
    ):
        st.button(
            label, icon=f":material/{icon}:", key=f"{key}-{label.lower()}", shortcut=shortcut,
            disabled=last, on_click=guarded(on_move), args=(by,),
        )  # fmt: skip


def param(name: str) -> str | None:
    """A query parameter that no widget owns, such as the id of the open detail."""
    return st.query_params.get(name)


def set_params(**values: str | None) -> None:
    """Write query parameters; None removes one. Widgets with bind="query-params" own theirs."""
    for name, value in values.items():
        if value is not None:
            st.query_params[name] = value
        elif name in st.query_params:
            del st.query_params[name]


def facts(values: Mapping[str, Any]) -> None:
    """A short list of names and values, such as the head of a detail drawer."""
    st.table(
        {name: text.NOTHING if value is None else value for name, value in values.items()},
        border="horizontal",
        width="stretch",
    )
