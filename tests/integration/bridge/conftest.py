from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.bridge.workshop import Session, Workshop, need, session, workshop


@pytest.fixture
async def tools() -> AsyncIterator[Workshop]:
    need("curl")
    need("node")
    async with workshop() as made:
        yield made


@pytest.fixture
async def inside(tools: Workshop, tmp_path: Path) -> AsyncIterator[Session]:
    async with session(tools, tmp_path / "workspace") as made:
        yield made
