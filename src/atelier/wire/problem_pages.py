"""The page of a problem type, at the URL in `type`: HTML, JSON or plain text.

Knows no framework: `atelier.http` serves the pages, and `atelier.files` where it runs alone.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
import textwrap
from collections.abc import Callable
from typing import NamedTuple

import orjson

from atelier.problem_types import BASE, PROBLEM_TYPES, ProblemType

COLUMNS = 80  # of plain text
REASON = "A reason in the record of a picture or file that could not be processed."
STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 42rem; margin: 4rem auto; padding: 0 1.5rem; }
h1 { margin-bottom: 0; font-size: 1.6rem; line-height: 1.25; }
code { font: 0.9em ui-monospace, monospace; }
footer { margin-top: 3rem; }
"""
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} - Atelier API</title>
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<p><code>{type}</code></p>
<p>{status}</p>
<p>{description}</p>
<footer><a href="/docs">All operations of the API</a></footer>
</body>
</html>
"""
_STYLE_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_DIGEST}'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_CODE = re.compile(r"`([^`]+)`")


class Page(NamedTuple):
    """A body, its media type, and its further headers."""

    body: bytes
    media_type: str
    headers: dict[str, str]


def render(slug: str, accept: str) -> Page | None:
    """Render the page of a slug; None for an unknown one.

    Of the types in the header `Accept` the first is taken, whatever its weight: browsers name HTML
    first. A client that names none of them, as curl does, gets plain text.
    """
    known = PROBLEM_TYPES.get(slug)
    if known is None:
        return None
    wanted = (part.partition(";")[0].strip().lower() for part in accept.split(","))
    media_type = next((name for name in wanted if name in _FORMS), "text/plain")
    charset = "" if media_type == "application/json" else "; charset=utf-8"
    headers = {"Vary": "Accept", "Content-Security-Policy": POLICY}
    return Page(_FORMS[media_type](slug, known).encode(), media_type + charset, headers)


def status_line(known: ProblemType) -> str:
    """The status and its headers, as Markdown; or a note that the slug is a reason."""
    if known.status is None:
        return REASON
    return f"Status {known.status}{f', with {known.headers}' if known.headers else ''}."


def _html(slug: str, known: ProblemType) -> str:
    return PAGE.format(
        style=STYLE,
        title=html.escape(known.title),
        type=BASE + slug,
        status=_marked(status_line(known)),
        description=_marked(known.description),
    )


def _json(slug: str, known: ProblemType) -> str:
    said = {"type": BASE + slug, **known._asdict()}
    del said["headers"]
    return orjson.dumps(said).decode()


def _text(slug: str, known: ProblemType) -> str:
    paragraphs = (known.title, BASE + slug, status_line(known), known.description)
    filled = (textwrap.fill(each, COLUMNS, break_on_hyphens=False) for each in paragraphs)
    return "\n\n".join(filled) + "\n"


def _marked(text: str) -> str:
    """Convert Markdown of plain text and `code` to HTML."""
    return _CODE.sub(r"<code>\1</code>", html.escape(text, quote=False))


_FORMS: dict[str, Callable[[str, ProblemType], str]] = {
    "text/html": _html,
    "application/json": _json,
    "text/plain": _text,
}
