"""One client in all its forms: both APIs, blocking and not, streamed and not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.driver import Driver

MODES = ["sync", "sync-stream", "async", "async-stream"]


@pytest.fixture(params=["responses", "chat"])
def api(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=MODES)
def driver(request: pytest.FixtureRequest, api: str) -> Iterator[Driver]:
    made = Driver(api, request.param)
    yield made
    made.close()


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder
