"""What every test gets: a home, a working directory and an environment of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.skip_policy import SkipPolicy

# How long an example takes says nothing on a machine that is shared; a hang is stopped by pytest-timeout.
hypothesis.settings.register_profile("agentd", deadline=None)
hypothesis.settings.register_profile("agentd-ci", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("agentd-ci" if os.environ.get("CI") else "agentd")

FOREIGN_PREFIXES = ("AGENTD_", "ANTHROPIC_", "AZURE_OPENAI_", "GEMINI_", "LITELLM_", "OLLAMA_", "OPENAI_", "XDG_")
FOREIGN_SUFFIXES = ("_API_KEY", "_PROXY")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(SkipPolicy.of_environment(), "agentd-skip-policy")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep a group of tests on one worker: xdist 3.8 names it where this pytest no longer looks."""
    from _pytest.nodeid import coerce_node_id

    grouped: list[Any] = items if config.getoption("loadgroup", False) else []
    for item in grouped:
        mark = item.get_closest_marker("xdist_group")
        if mark is not None and not item.nodeid.endswith(f"@{mark.args[0]}"):
            item._id = coerce_node_id(f"{item.nodeid}@{mark.args[0]}")


@pytest.fixture(autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Move the test into an empty directory with an empty home, without keys, settings and proxies of the caller's.

    Returns the directory; it is not `tmp_path`, which stays as the test finds it.
    """
    place = tmp_path_factory.mktemp("isolated")
    home, cwd = place / "home", place / "cwd"
    home.mkdir()
    cwd.mkdir()
    for name in os.environ:
        if name.upper().startswith(FOREIGN_PREFIXES) or name.upper().endswith(FOREIGN_SUFFIXES):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(cwd)
    return cwd
