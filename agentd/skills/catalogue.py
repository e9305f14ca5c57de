"""The tools of a session under the names by which code calls them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agentd.core.tools import ToolSpec
from agentd.skills.names import free, skill_name, tool_identifier
from agentd.skills.parameters import Parameters, parameters_of
from agentd.skills.shapes import Shape

LOCAL = "local"
_RESERVED_SKILLS = frozenset({"lib", LOCAL, "bin"})
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_.\-]{1,128}")

Origin = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """A tool: `name` is its Python function, `key` what a request for it says, `skill` the folder of its server.

    `aliases` are further names of the function; `learned` is the shape of a result that was seen.
    """

    spec: ToolSpec
    key: str
    name: str
    skill: str
    parameters: Parameters
    aliases: tuple[str, ...] = ()
    learned: Shape | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """All tools of a session, grouped by server. A name that was given out never changes its meaning.

    A tool has its own name. When tools of two servers have the same one, each is `server__tool`; when one of them
    came earlier, it keeps the plain name as well. `past` are tools that are gone: their names stay taken.
    """

    entries: tuple[Entry, ...] = ()
    past: tuple[Entry, ...] = ()
    skills: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def of(cls, specs: Iterable[ToolSpec]) -> Catalogue:
        """Return the catalogue of a new session."""
        return cls().updated(specs)

    def updated(self, specs: Iterable[ToolSpec]) -> Catalogue:
        """Return the catalogue with exactly the tools `specs`; of two with one server and name the first counts."""
        wanted: dict[Origin, ToolSpec] = {}
        for spec in specs:
            wanted.setdefault((spec.server, spec.name), spec)
        skills = _with_skills(self.skills, [server for server, _ in wanted])
        known = {_origin(entry): entry for entry in (*self.past, *self.entries)}
        naming = _Naming(known.values(), skills)
        new = naming.name([spec for origin, spec in wanted.items() if origin not in known])
        entries = [_renewed(naming.aliased(known[o]), s) if o in known else new[o] for o, s in wanted.items()]
        past = [entry for origin, entry in known.items() if origin not in wanted]
        return Catalogue(tuple(_grouped(entries)), tuple(past), skills)

    def learned(self, key: str, shape: Shape) -> Catalogue:
        """Return the catalogue with the shape of a result of the tool `key`."""
        entries = tuple(replace(entry, learned=shape) if entry.key == key else entry for entry in self.entries)
        return replace(self, entries=entries)

    def find(self, name: str) -> Entry | None:
        """Return the tool with this key, function name or alias, or with this own name if it is the only one."""
        for entry in self.entries:
            if name in (entry.key, entry.name, *entry.aliases):
                return entry
        own = [entry for entry in self.entries if entry.spec.name == name]
        return own[0] if len(own) == 1 else None

    def by_skill(self) -> dict[str, list[Entry]]:
        """Return the tools of each server's skill, in order."""
        groups: dict[str, list[Entry]] = {}
        for entry in self.entries:
            groups.setdefault(entry.skill, []).append(entry)
        return groups


class _Naming:
    """Gives names to new tools around those that are taken."""

    def __init__(self, known: Iterable[Entry], skills: Mapping[str, str]) -> None:
        self._skills = skills
        self._owners = {name: entry.spec.server for entry in known for name in (entry.name, *entry.aliases)}
        self._keys = {entry.key for entry in known}
        self._wanted_plain: set[str] = set()

    def name(self, specs: Sequence[ToolSpec]) -> dict[Origin, Entry]:
        """Return an entry for each of `specs`, all of them new."""
        pairs = {(spec.server, tool_identifier(spec.name)) for spec in specs}
        self._wanted_plain = {plain for _, plain in pairs}
        servers = Counter(plain for _, plain in pairs)
        made: dict[Origin, Entry] = {}
        for spec in specs:
            plain = tool_identifier(spec.name)
            clash = servers[plain] > 1 or self._owners.get(plain, spec.server) != spec.server
            made[spec.server, spec.name] = self._entry(spec, plain, clash)
        return made

    def aliased(self, entry: Entry) -> Entry:
        """Give a tool that has its plain name the full one too when a new tool would have had the same."""
        full = self._full(entry.spec, tool_identifier(entry.spec.name))
        if entry.name not in self._wanted_plain or full in self._owners:
            return entry
        self._owners[full] = entry.spec.server
        return replace(entry, aliases=(*entry.aliases, full))

    def _entry(self, spec: ToolSpec, plain: str, clash: bool) -> Entry:
        name = free(self._full(spec, plain) if clash else plain, self._owners, "_")
        self._owners[name] = spec.server
        own = not clash and spec.name not in self._keys and _PLAIN_KEY.fullmatch(spec.name)
        key = spec.name if own else free(name, self._keys, "_")
        self._keys.add(key)
        return Entry(spec, key, name, self._skills[spec.server], parameters_of(spec))

    def _full(self, spec: ToolSpec, plain: str) -> str:
        return f"{tool_identifier(self._skills[spec.server]).rstrip('_')}__{plain}"


def _origin(entry: Entry) -> Origin:
    return entry.spec.server, entry.spec.name


def _with_skills(skills: Mapping[str, str], servers: Iterable[str]) -> dict[str, str]:
    """Return the folder of every server, those given out before unchanged."""
    named = dict(skills)
    for server in servers:
        if server not in named:
            taken = _RESERVED_SKILLS.union(named.values())
            named[server] = free(skill_name(server), taken, "-") if server else LOCAL
    return named


def _renewed(entry: Entry, spec: ToolSpec) -> Entry:
    """Return the entry with its tool's present description, positional parameters in the order that was shown."""
    if spec == entry.spec:
        return entry
    order = [item.key for item in entry.parameters.items if item.positional and item.required]
    return replace(entry, spec=spec, parameters=parameters_of(spec, order))


def _grouped(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries server by server, in the order in which servers come first."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.skill, []).append(entry)
    return [entry for group in groups.values() for entry in group]
