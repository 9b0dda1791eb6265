"""Docstrings as the site's tools read them: Sphinx roles become links, examples code.

mkdocs.yml names this file as an extension of griffe, which reads the packages' docstrings.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)  # griffe knows the plural alone
_ROLE = re.compile(r":(?:func|class|meth|attr|data|mod):`~?([^`]+)`")


class OurDocstrings(griffe.Extension):
    """A role becomes a link, or plain code where the site has no such place."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Rewrite the docstrings of a package once all names in it are known."""
        _rewrite(pkg)


def _rewrite(where: griffe.Object) -> None:
    if where.docstring is not None:
        text = _ROLE.sub(lambda found: _link(found[1], where), where.docstring.value)
        where.docstring.value = _EXAMPLE.sub("Examples:", text)
    for member in where.members.values():
        if not member.is_alias:  # else it is rewritten where it is written
            _rewrite(member)


def _link(name: str, where: griffe.Object) -> str:
    path = name
    # What is in this scope, such as a method's neighbour, may be named without the way to it.
    with suppress(griffe.NameResolutionError):
        path = where.resolve(name)
    return f'<autoref identifier="{path}" optional><code>{name}</code></autoref>'
