"""The executors that have to keep the contract: a new back end is one more name."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from agentd.core.protocols import Executor
from agentd.executors import create
from tests.contract.executor.harness import Session, running

FACTORIES = ["local"]


@pytest.fixture(params=FACTORIES)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Executor]:
    """Return what makes an executor of the kind under test, on a workspace of its own."""

    def build(**options: object) -> Executor:
        return create(request.param, tmp_path / "workspace", **options)

    return build


@pytest.fixture
async def executor(make: Callable[..., Executor]) -> AsyncIterator[Executor]:
    made = make(timeout=20.0)
    yield made
    await made.aclose()


@pytest.fixture
async def session(executor: Executor) -> Session:
    return Session(await executor.open("one"))


@pytest.fixture
def mark() -> Iterator[str]:
    """Return a number of seconds that no other `sleep` on this machine has, and kill what is left of it."""
    number = f"{1_000_000 + int.from_bytes(os.urandom(4), 'big')}"
    yield number
    for pid in running(number):
        os.kill(pid, 9)
