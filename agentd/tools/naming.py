"""The names under which a model API sees tools and properties."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Container, Iterable, Mapping

MAX_NAME = 64
_ODD = re.compile(r"[^A-Za-z0-9_-]+")


def tool_name(name: str) -> str:
    """Return a name that every API takes: `read file` gives `read_file`, `3d` `tool_3d`.

    It is not cut: `free_name` does that.
    """
    bare = _ODD.sub("_", ascii_of(name[:300])).strip("_-")
    if not bare:
        return f"tool_{digest(name)}" if name else "tool"
    return bare if bare[0].isalpha() else f"tool_{bare}"


def free_name(candidates: Iterable[str], key: str, taken: Container[str]) -> str:
    """Return the first candidate that is not taken, else the last with a number; one too long ends in a short hash."""
    name = "tool"
    for candidate in candidates:
        name = candidate if len(candidate) <= MAX_NAME else f"{candidate[: MAX_NAME - 9].rstrip('_-')}_{digest(key)}"
        if name not in taken:
            return name
    number = 2
    while True:
        tail = f"_{number}"
        candidate = name[: MAX_NAME - len(tail)].rstrip("_-") + tail
        if candidate not in taken:
            return candidate
        number += 1


def property_names(names: Collection[str], allowed: re.Pattern[str], refused: Container[str] = ()) -> dict[str, str]:
    """Return for each property the name that the API sees: its own where that matches `allowed`."""
    result = {name: name for name in names if allowed.fullmatch(name) and name not in refused}
    taken = set(result.values())
    for name in names:
        if name in result:
            continue
        bare = re.sub(r"[^A-Za-z0-9]+", "_", ascii_of(name[:300])).strip("_")[: MAX_NAME - 10]
        bare = bare if bare and bare[0].isalpha() else f"p_{bare}".rstrip("_")
        bare += "_" * (bare in refused)
        unclear = bare in taken or bare in names or bare == "p" or len(name) > MAX_NAME - 10
        result[name] = f"{bare}_{digest(name)}" if unclear else bare
        taken.add(result[name])
    return {name: result[name] for name in names}


def property_meant(key: str, names: Collection[str], allowed: re.Pattern[str], refused: Container[str]) -> str | None:
    """Return the property that the API sees as `key`, `None` when there is none, or only one of that very name."""
    if key in names:
        return None
    found = [name for name, shown in property_names(names, allowed, refused).items() if shown == key]
    return found[0] if len(found) == 1 else None


def folded(name: str) -> str:
    """Return a name as all that differ in case, `-`, `_` and other marks only."""
    return "".join(char for char in name.casefold() if char.isalnum())


def unique_by_fold(names: Iterable[str]) -> Mapping[str, str]:
    """Return the names by their folded form, without those that share one."""
    found: dict[str, str] = {}
    doubles: set[str] = set()
    for name in names:
        form = folded(name)
        if found.setdefault(form, name) != name:
            doubles.add(form)
    return {form: name for form, name in found.items() if form not in doubles}


def ascii_of(name: str) -> str:
    """Return a name without accents and other signs that ASCII lacks."""
    return unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()


def digest(text: str) -> str:
    """Return eight characters that stay the same for the same text."""
    import hashlib  # few names need it, and it takes milliseconds

    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
