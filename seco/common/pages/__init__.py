"""Self-contained HTML pages: no network, no scripts, no other file.

- ``shell.html``: what all pages look like; a page fills its blocks ``body`` and ``footer``.
- ``pictures.py``: images, label maps and figures inside a page.
- ``text.py``: numbers as a page says them.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from seco.common.files import PathLike, write_bytes
from seco.common.pages.text import count, percent, points


def render_page(template: str, values: Mapping[str, Any]) -> str:
    """A page as text; the same values give the same page.

    Args:
        template: of jinja2, that extends ``shell.html``; what it shows is escaped.
        values: by the names that it uses, ``title`` among them.

    Example:
        >>> template = "{% extends 'shell.html' %}{% block body %}<p>{{ said }}</p>{% endblock %}"
        >>> page = render_page(template, {"title": "Streets", "said": "<b>1</b>"})
        >>> "<h1>Streets</h1>" in page, "<p>&lt;b&gt;1&lt;/b&gt;</p>" in page
        (True, True)
    """
    from jinja2 import DictLoader, Environment, StrictUndefined

    shell = (files("seco.common.pages") / "shell.html").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=DictLoader({"shell.html": shell}),
    )
    environment.filters |= {"percent": percent, "points": points, "count": count}
    return environment.from_string(template).render(values)


def write_page(path: PathLike, page: str) -> None:
    """Write a page atomically.

    Raises:
        OSError: the file cannot be written.
    """
    # A file name need not be Unicode; what cannot be written as such becomes a question mark.
    write_bytes(path, page.encode("utf-8", errors="replace"))
