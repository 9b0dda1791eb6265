"""Settings as text, for command lines: ``name=value`` in, a list of all of them out."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from seco.sam.proposal_settings import ProposalSettings
from seco.settings import PAPER, PSASettings


@dataclass(frozen=True)
class _Field:
    owner: type
    name: str
    kind: Any

    def read(self, settings: PSASettings) -> Any:
        part = settings if self.owner is PSASettings else _proposals(settings)
        return getattr(part, self.name)

    @property
    def expected(self) -> str:
        if get_origin(self.kind) is Literal:
            return "one of " + ", ".join(str(choice) for choice in get_args(self.kind))
        return {int: "an integer", float: "a number", bool: "true or false"}[self.kind]

    def parse(self, text: str) -> Any:
        try:
            if get_origin(self.kind) is Literal:
                return {str(choice): choice for choice in get_args(self.kind)}[text]
            if self.kind is bool:
                return {"true": True, "false": False}[text.lower()]
            return self.kind(text)
        except (KeyError, ValueError):
            raise ValueError(f"{self.name}: expected {self.expected}, got {text!r}") from None


def change_settings(settings: PSASettings, assignments: Sequence[str]) -> PSASettings:
    """Return settings with some fields changed.

    Args:
        settings: to start from.
        assignments: ``name=value`` each, with the name of a field of :class:`seco.PSASettings` or
            :class:`seco.ProposalSettings`.

    Raises:
        ValueError: no ``name=value``, an unknown name, one given twice, or a value that the
            field does not take.

    Example:
        >>> changed = change_settings(PSASettings(), ["point=centre", "points_per_side=16"])
        >>> changed.point, changed.proposals.points_per_side
        ('centre', 16)
        >>> change_settings(PSASettings(), ["connectivity=6"])
        Traceback (most recent call last):
            ...
        ValueError: connectivity: expected one of 4, 8, got '6'
    """
    known = {field.name: field for field in _fields()}
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name, text = name.strip(), text.strip()
        if not equals:
            raise ValueError(f"settings: expected name=value, got {assignment!r}")
        if name not in known:
            raise ValueError(f"settings: expected one of {', '.join(known)}, got {name!r}")
        if name in values:
            raise ValueError(f"settings: expected every name once, got {name!r} twice")
        values[name] = known[name].parse(text)
    own = {name: value for name, value in values.items() if known[name].owner is PSASettings}
    found = {name: value for name, value in values.items() if name not in own}
    settings = replace(settings, **own)
    return (
        replace(settings, proposals=replace(_proposals(settings), **found)) if found else settings
    )


def list_settings() -> str:
    """Return a page on every field: its default, the paper's value where it differs, its meaning.

    Example:
        >>> list_settings().splitlines()[:2]
        ['method = psa', '    expected: one of psa, alignment, prompts']
    """
    default, lines = PSASettings(), []
    for field in _fields():
        own, paper = field.read(default), field.read(PAPER)
        lines.append(f"{field.name} = {own}" + (f"  (--paper: {paper})" if paper != own else ""))
        lines.append(f"    expected: {field.expected}")
        meaning = _meanings(field.owner).get(field.name, "")
        lines += textwrap.wrap(meaning, 96, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


def _proposals(settings: PSASettings) -> ProposalSettings:
    return ProposalSettings() if settings.proposals is None else settings.proposals


def _fields() -> Iterator[_Field]:
    for owner in (PSASettings, ProposalSettings):
        kinds = get_type_hints(owner)
        for field in fields(owner):
            if field.name != "proposals":
                yield _Field(owner, field.name, kinds[field.name])


def _meanings(owner: type) -> dict[str, str]:
    """What the docstring says about each argument, so that it is said in one place only."""
    entries = re.findall(r"^    (\w+): ((?:.|\n {8})+)", inspect.getdoc(owner) or "", re.MULTILINE)
    return {name: " ".join(text.replace("``", "").split()) for name, text in entries}
