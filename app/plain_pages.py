"""The few pages outside of Streamlit, in plain HTML without scripts, in the same colours and type.

Knows: the theme in .streamlit/config.toml, how the sign-in pages look.
Does not know: who signs in, or how.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import tomllib
from typing import Any

from starlette.responses import HTMLResponse

from core.errors import LatheError
from core.settings import PROJECT_ROOT

_TOKENS = {
    "accent": "primaryColor",
    "paper": "backgroundColor",
    "panel": "secondaryBackgroundColor",
    "ink": "textColor",
    "line": "borderColor",
    "muted": "grayTextColor",
    "link": "linkColor",
    "bad": "redColor",
}

_STYLE = """
@font-face { font-family: Inter; font-weight: 100 900; font-display: swap;
  src: url(/app/static/inter-latin-wght-normal.woff2) format("woff2"); }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 24px;
  background: var(--panel); color: var(--ink); font: 15px/1.5 Inter, system-ui, sans-serif; }
main { width: 100%; max-width: 400px; }
.brand { font-size: 20px; font-weight: 650; letter-spacing: -0.01em; margin: 0 0 16px;
  display: flex; align-items: center; gap: 10px; }
.brand svg { width: 24px; height: 24px; color: var(--accent); }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: 8px;
  padding: 28px; }
h1 { font-size: 20px; line-height: 1.3; margin: 0 0 6px; font-weight: 600; }
p { margin: 0 0 20px; color: var(--muted); }
label { display: block; font-size: 13px; font-weight: 500; margin: 0 0 6px; }
input { width: 100%; font: inherit; color: inherit; background: var(--paper);
  border: 1px solid var(--line); border-radius: 6px; padding: 9px 12px; margin: 0 0 16px; }
button { width: 100%; font: inherit; font-weight: 550;
  color: light-dark(#fff, #0b0d0f); background: var(--accent);
  border: 0; border-radius: 6px; padding: 10px 12px; cursor: pointer; }
button:hover { filter: brightness(0.93); }
input:focus-visible, button:focus-visible, a:focus-visible {
  outline: 2px solid var(--link); outline-offset: 2px; }
.error { border: 1px solid var(--bad); border-left-width: 4px; border-radius: 6px;
  padding: 10px 14px; margin: 0 0 20px; }
.error b { color: var(--bad); display: block; }
.note { font-size: 13px; margin: 16px 4px 0; }
a { color: var(--link); }
code { font-family: "JetBrains Mono", ui-monospace, monospace; font-size: 12px; }
"""

_MARK = (
    '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" '
    'stroke-linecap="round" aria-hidden="true"><path d="M2 12h4M18 12h4"/>'
    '<path d="M6 7v10M10 5v14M14 7v10M18 9v6"/></svg>'
)


def sign_in(*, error: LatheError | None = None, name: str = "", there: str = "") -> HTMLResponse:
    """Name and password; what was wrong the last time stands above them."""
    body = f"""
        <h1>Sign in</h1><p>Use the name and password of your Lathe account.</p>
        {_error(error)}
        <form method="post" action="/sign-in">
          <input type="hidden" name="next" value="{html.escape(there)}">
          <label for="name">Name</label>
          <input id="name" name="name" value="{html.escape(name)}" autocomplete="username"
            autocapitalize="none" required {"" if name else "autofocus"}>
          <label for="password">Password</label>
          <input id="password" name="password" type="password" autocomplete="current-password"
            required {"autofocus" if name else ""}>
          <button type="submit">Sign in</button>
        </form>"""
    note = (
        "No password at hand? An admin can give you a one-time link; on this machine "
        "<code>lathe link NAME</code> does too."
    )
    return _page("Sign in", body, note, status=error.status if error else 200)


def confirm_link(token: str) -> HTMLResponse:
    """The link is used up by the button, not by opening it: previews of links open them too."""
    body = f"""
        <h1>Welcome to Lathe</h1>
        <p>This link signs you in once. You set a password next.</p>
        <form method="post" action="/sign-in/link">
          <input type="hidden" name="token" value="{html.escape(token)}">
          <button type="submit" autofocus>Sign in</button>
        </form>"""
    return _page("Sign in", body, "")


def refused(error: LatheError) -> HTMLResponse:
    """An error and the way back."""
    body = f'{_error(error)}<form action="/sign-in"><button type="submit">Sign in</button></form>'
    return _page(error.title, body, "", status=error.status)


def _page(title: str, body: str, note: str, *, status: int = 200) -> HTMLResponse:
    style = stylesheet()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return HTMLResponse(
        f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><meta name="robots" content="noindex">
<title>{html.escape(title)} · Lathe</title>
<link rel="icon" type="image/svg+xml" href="/app/static/lathe.svg">
<style>{style}</style></head>
<body><main><div class="brand">{_MARK} Lathe</div><div class="card">{body}</div>
{f'<p class="note">{note}</p>' if note else ""}</main></body></html>""",
        status,
        headers={
            "Cache-Control": "no-store",
            "Content-Security-Policy": (
                f"default-src 'none'; style-src 'sha256-{digest}'; font-src 'self'; "
                "img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
            ),
        },
    )


def _error(error: LatheError | None) -> str:
    if error is None:
        return ""
    parts = [f"<b>{html.escape(error.title)}</b>{html.escape(error.message)}"]
    if error.hint:
        parts.append(html.escape(error.hint))
    return f'<div class="error" role="alert">{"<br>".join(parts)}</div>'


@functools.cache
def stylesheet() -> str:
    """The style of these pages, with the theme's colours in both appearances."""
    theme: dict[str, Any] = tomllib.loads(
        (PROJECT_ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8")
    )["theme"]

    def colours(appearance: str) -> str:
        values = {**theme, **theme[appearance]}
        return " ".join(f"--{name}: {values[key]};" for name, key in _TOKENS.items())

    return (
        f":root {{ color-scheme: light dark; {colours('light')} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {colours('dark')} }} }}\n{_STYLE}"
    )
