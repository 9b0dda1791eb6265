"""Settings as text, for command lines: ``name=value`` in, a list of all of them out."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from seco.correction.settings import SCCSettings
from seco.sam.proposal_settings import ProposalSettings
from seco.settings import PSASettings

Settings = TypeVar("Settings", PSASettings, ProposalSettings, SCCSettings)


@dataclass(frozen=True)
class _Field:
    owner: type
    name: str
    kind: Any

    def read(self, settings: object) -> Any:
        return getattr(_part(settings, self.owner), self.name)

    @property
    def expected(self) -> str:
        if self.kind == int | None:
            return "an integer or none"
        if get_origin(self.kind) is Literal:
            return "one of " + ", ".join(str(choice) for choice in get_args(self.kind))
        return {int: "an integer", float: "a number", bool: "true or false"}[self.kind]

    def parse(self, text: str) -> Any:
        try:
            if get_origin(self.kind) is Literal:
                return {str(choice): choice for choice in get_args(self.kind)}[text]
            if self.kind == int | None:
                return None if text.lower() == "none" else int(text)
            if self.kind is bool:
                return {"true": True, "false": False}[text.lower()]
            return self.kind(text)
        except (KeyError, ValueError):
            raise ValueError(f"{self.name}: expected {self.expected}, got {text!r}") from None


def change_settings(settings: Settings, assignments: Sequence[str]) -> Settings:
    """Return settings with some fields changed.

    Args:
        settings: to start from.
        assignments: ``name=value`` each, with the name of a field of the settings' class; for
            :class:`seco.PSASettings` also of :class:`seco.ProposalSettings`.

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
    known = {field.name: field for field in _fields(type(settings))}
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
    own = {name: value for name, value in values.items() if known[name].owner is type(settings)}
    found = {name: value for name, value in values.items() if name not in own}
    if found:
        own["proposals"] = replace(_part(settings, ProposalSettings), **found)
    return replace(settings, **own)


def list_settings(default: Settings, paper: Settings | None = None) -> str:
    """Return a page on every field: its default, the paper's value where it differs, its meaning.

    Args:
        default: settings that nothing is changed in.
        paper: what ``--paper`` starts from, if there is that option.

    Example:
        >>> from seco.settings import PAPER
        >>> list_settings(PSASettings(), PAPER).splitlines()[:2]
        ['method = psa', '    expected: one of psa, alignment, prompts']
    """
    lines = []
    for field in _fields(type(default)):
        own = field.read(default)
        other = own if paper is None else field.read(paper)
        lines.append(f"{field.name} = {own}" + (f"  (--paper: {other})" if other != own else ""))
        lines.append(f"    expected: {field.expected}")
        meaning = _meanings(field.owner).get(field.name, "")
        lines += textwrap.wrap(meaning, 96, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


def _part(settings: Any, owner: type) -> Any:
    """The settings, or those within them, that are of a class."""
    if isinstance(settings, PSASettings) and owner is ProposalSettings:
        return ProposalSettings() if settings.proposals is None else settings.proposals
    return settings


def _fields(kind: type) -> Iterator[_Field]:
    for owner in (kind, ProposalSettings) if kind is PSASettings else (kind,):
        kinds = get_type_hints(owner)
        for field in fields(owner):
            if field.name != "proposals":
                yield _Field(owner, field.name, kinds[field.name])


def _meanings(owner: type) -> dict[str, str]:
    """What the docstring says about each argument, so that it is said in one place only."""
    entries = re.findall(r"^    (\w+): ((?:.|\n {8})+)", inspect.getdoc(owner) or "", re.MULTILINE)
    return {name: " ".join(text.replace("``", "").split()) for name, text in entries}
