"""HTML and SVG put together so that whatever is no markup of ours is text."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import TypeAlias


class Html(str):
    """Markup; a plain str is text, and is escaped where it gets into markup."""

    __slots__ = ()


Child: TypeAlias = "str | Html | Iterable[Child] | None"

_VOID = ("meta", "br", "line", "rect", "path", "circle")


def element(name: str, /, *children: Child, **attributes: str | float | None) -> Html:
    """`<name attribute="...">children</name>`.

    `class_` is class, `stroke_width` is stroke-width; attributes of None are left out.
    """
    words = [name]
    for key, value in attributes.items():
        if value is not None:
            text = f"{value:.6g}" if isinstance(value, float) else str(value)
            words.append(f'{key.rstrip("_").replace("_", "-")}="{html.escape(text)}"')
    opening = f"<{' '.join(words)}>"
    if name in _VOID and not children:
        return Html(opening if name in ("meta", "br") else f"{opening[:-1]}/>")
    return Html(f"{opening}{text_of(children)}</{name}>")


def text_of(child: Child) -> Html:
    """`child` as markup."""
    if child is None:
        return Html("")
    if isinstance(child, Html):
        return child
    if isinstance(child, str):
        return Html(html.escape(child))
    return Html("".join(text_of(each) for each in child))


def table(
    heads: Sequence[Child], rows: Sequence[Sequence[Child]], class_: str | None = None
) -> Html:
    """Columns of numbers (text that begins with a digit, or a minus and a digit) are set to the right."""
    right = [
        all(_is_number(row[index]) for row in rows) and bool(rows) for index in range(len(heads))
    ]
    classes = ["number" if each else None for each in right]
    head = [
        element("th", each, scope="col", class_=c) for each, c in zip(heads, classes, strict=True)
    ]
    body = [
        element("tr", [element("td", each, class_=c) for each, c in zip(row, classes, strict=True)])
        for row in rows
    ]
    inner = element(
        "table",
        element("thead", element("tr", head)),
        element("tbody", body),
        class_=class_,
    )
    return element("div", inner, class_="wide")


def facts(rows: Iterable[tuple[str, Child]]) -> Html:
    """Names and values below each other; those without a value are left out."""
    kept = [(name, value) for name, value in rows if value not in (None, "", [])]
    body = [element("tr", element("th", n, scope="row"), element("td", v)) for n, v in kept]
    return element("div", element("table", element("tbody", body), class_="facts"), class_="wide")


def _is_number(child: Child) -> bool:
    plain = isinstance(child, str) and not isinstance(child, Html)
    return plain and (child == "-" or child.lstrip("-")[:1].isdigit())  # type: ignore[union-attr]
