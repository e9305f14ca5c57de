"""What is imported is declared, what is declared is locked, and each heavy library has one home."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.unit.structure.source import FOLDERS, ROOT, Source, offences, sources

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
OWN = {*FOLDERS, "_agentd_runner", "lib"}  # the runner's own name in the sandbox, and that of generated bindings
# `examples/model.py`, beside the examples that import it; what one benchmark asks its user to install; a name that a
# test needs to be missing.
OWN |= {"model", "tiktoken", "nowhere"}
COMPANIONS = {"pydantic-core": "pydantic", "mcp-types": "mcp"}  # a release of the second pins the first
LOCKS = {"requirements.lock": "openai2", "requirements-openai3.lock": "openai3"}

# Whoever imports a library from elsewhere makes `import agentd` heavy or a back end irreplaceable.
HOMES = {
    "agents": {"mcp"},
    "aiohttp": {"bridge", "llm"},
    "click": {"cli"},
    "litellm": {"llm"},
    "mcp": {"mcp"},
    "openai": {"cli", "llm", "patch"},
    "opentelemetry": {"observe"},
    "sqlite3": {"store"},
    "sqlalchemy": {"store"},
}


def requirements(*groups: str) -> list[Requirement]:
    project = PROJECT["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    return [
        Requirement(line)
        for line in [*lines, *(line for name in groups for line in PROJECT["dependency-groups"][name])]
    ]


def locked(lock: str) -> dict[str, str]:
    text = (ROOT / lock).read_text("utf-8")
    return {canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE)}


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_holds_what_is_declared(lock: str) -> None:
    versions = locked(lock)
    declared = requirements("dev", LOCKS[lock])
    assert [
        str(need) for need in declared if not need.specifier.contains(versions.get(canonicalize_name(need.name), "0"))
    ] == []


@pytest.mark.parametrize("lock", [*LOCKS, "requirements-uv.lock"])
def test_everything_locked_has_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text("utf-8")
    entries = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert entries
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert ":/" + "/" not in text


def test_the_two_locks_stand_on_two_majors_of_the_client() -> None:
    assert {locked(lock)["openai"].split(".")[0] for lock in LOCKS} == {"2", "3"}


def test_the_build_back_end_comes_from_the_lock() -> None:
    (needed,) = [Requirement(line) for line in PROJECT["build-system"]["requires"]]
    assert [lock for lock in LOCKS if not needed.specifier.contains(locked(lock)[canonicalize_name(needed.name)])] == []


def undeclared(files: list[Source], declared: list[Requirement]) -> list[str]:
    owners = packages_distributions()
    known = {canonicalize_name(need.name) for need in declared}
    known |= {companion for companion, owner in COMPANIONS.items() if owner in known}

    def unknown(file: Source) -> Iterator[tuple[int, str]]:
        tops = ((line, name.split(".")[0]) for line, name in file.imports())
        foreign = ((line, top) for line, top in tops if top not in sys.stdlib_module_names and top not in OWN)
        return ((line, top) for line, top in foreign if not known & {canonicalize_name(o) for o in owners.get(top, [])})

    return offences(files, unknown)


def test_what_is_imported_is_declared() -> None:
    assert undeclared(sources(*FOLDERS), requirements("dev")) == []


def test_agentd_needs_no_library_of_development() -> None:
    assert undeclared(sources("agentd"), requirements()) == []


def test_each_heavy_library_has_one_home() -> None:
    def astray(file: Source) -> Iterator[tuple[int, str]]:
        folder = file.path.split("/")[1]
        tops = ((line, name.split(".")[0]) for line, name in file.imports())
        return ((line, top) for line, top in tops if top in HOMES and folder not in HOMES[top])

    assert offences(sources("agentd"), astray) == []
