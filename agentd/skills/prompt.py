"""What the prompt says: how to act, and which tools there are, in as few tokens as do the work."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from agentd.skills.catalogue import Catalogue, Entry
from agentd.skills.signature import brief_signature

MAX_SIGNATURE_TOKENS = 300
_MAX_NAMES = 80
_MAX_SIGNATURE = 400
_CHARACTERS_PER_TOKEN = 3.4

ACTING = """\
To act, write fenced blocks; they run in order and you get their output:
```bash:execute
ls
```
```python:execute
print(1)
```
```path/to/file:create
whole content
```
Write one group of blocks, then stop and wait for the results; never guess them. \
cd and export last, Python variables do not."""

CALLING = """\
In {place} these functions are in scope; they return plain data and raise ToolError. \
`help(fn)` tells more, as does `skills list` in bash."""


def guidance(catalogue: Catalogue, used: Collection[str] = (), *, fenced: bool = True) -> str:
    """Return what a session's prompt begins with; with `fenced=False` for a model whose code is a JSON call's argument.

    Each server is one line of function names, or has their signatures when these are short or the server is one of
    `used`, the skills that were used before.
    """
    acting = [ACTING] if fenced else []
    if not catalogue.entries:
        return "\n".join(acting)
    place = "Python blocks" if fenced else "the code of `python` calls"
    return "\n".join([*acting, CALLING.format(place=place), *servers(catalogue, used)])


def servers(catalogue: Catalogue, used: Collection[str] = ()) -> list[str]:
    """Return the catalogue's lines, one a server."""
    return _lines(catalogue.by_skill().items(), used)


def extend(previous: Catalogue, catalogue: Catalogue) -> str:
    """Return what has to be added to a prompt that told `previous`, `""` when that is nothing.

    What was said before stays as it was, so that the prompt's beginning stays cached.
    """
    before = {(entry.spec.server, entry.spec.name): entry for entry in previous.entries}
    now = {(entry.spec.server, entry.spec.name) for entry in catalogue.entries}
    groups: dict[str, list[Entry]] = {}
    for entry in catalogue.entries:
        known = before.get((entry.spec.server, entry.spec.name))
        if known is None or brief_signature(known) != brief_signature(entry):
            groups.setdefault(entry.skill, []).append(entry)
    gone = [entry.name for origin, entry in before.items() if origin not in now]
    parts = ["New or changed functions:", *_lines(groups.items(), ())] if groups else []
    if gone:
        parts.append(f"No longer there: {_some(gone)}")
    return "\n".join(parts)


def estimated_tokens(text: str) -> int:
    """Return about how many tokens a text of names and signatures has."""
    return round(len(text) / _CHARACTERS_PER_TOKEN)


def names(skill: str, entries: Sequence[Entry]) -> str:
    """Return a server's line with the names of its functions."""
    return f"{skill}: {_some([entry.name for entry in entries], ' ')}"  # a comma costs a token a name


def signatures(skill: str, entries: Sequence[Entry]) -> str:
    """Return a server's line with the signatures of its functions."""
    return f"{skill}: {_some([_short(entry) for entry in entries])}"


def _lines(groups: Iterable[tuple[str, Sequence[Entry]]], used: Collection[str]) -> list[str]:
    told: list[str] = []
    for skill, entries in groups:
        full = signatures(skill, entries)
        short = skill in used or estimated_tokens(full) <= MAX_SIGNATURE_TOKENS
        told.append(full if short else names(skill, entries))
    return told


def _short(entry: Entry) -> str:
    text = brief_signature(entry)
    return text if len(text) <= _MAX_SIGNATURE else f"{entry.name}(…)"


def _some(items: Sequence[str], joint: str = ", ") -> str:
    """Return the items in a row, of very many the first ones."""
    more = len(items) - _MAX_NAMES
    return joint.join(items[:_MAX_NAMES]) + (f"{joint}… and {more} more" if more > 0 else "")
