"""The contract of executors through the real SDK of microsandbox, against a fake of its cloud.

What is a matter of the stream to the runner is tried here; what the runner does by itself is the same everywhere. The
fake's machines shut nothing in: that a virtual machine does, only `test_microsandbox_vm.py` can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import microsandbox
import pytest

from agentd.core.protocols import Executor
from tests.contract.executor.conftest import executor, mark, session
from tests.contract.executor.test_killing import (
    test_a_block_cannot_kill_the_host_and_the_next_one_runs,
    test_cancelling_kills_everything,
    test_closing_a_shell_ends_its_blocks,
    test_closing_the_executor_ends_everything,
)
from tests.contract.executor.test_lifecycle import (
    test_an_executor_that_was_never_used,
    test_blocks_started_all_at_once,
    test_many_blocks_leave_no_descriptors,
    test_one_event_loop_after_another,
    test_opening_twice_is_the_same_shell,
)
from tests.contract.executor.test_output import (
    test_a_ten_megabyte_line,
    test_characters_are_never_split,
    test_concurrent_blocks_do_not_mix,
    test_head_and_tail_and_where_the_rest_is,
)
from tests.contract.executor.test_python import test_exit_statuses
from tests.contract.executor.test_tools import (
    test_a_thousand_calls,
    test_arguments_and_results_of_any_size,
    test_threads_call_at_the_same_time,
    test_tools_are_in_scope_and_can_be_imported,
)
from tests.fakes.microsandbox_api import KEY, FakedMicrosandbox, cloud

__all__ = [
    "executor",
    "mark",
    "session",
    "test_a_block_cannot_kill_the_host_and_the_next_one_runs",
    "test_tools_are_in_scope_and_can_be_imported",
    "test_a_ten_megabyte_line",
    "test_a_thousand_calls",
    "test_an_executor_that_was_never_used",
    "test_arguments_and_results_of_any_size",
    "test_blocks_started_all_at_once",
    "test_cancelling_kills_everything",
    "test_characters_are_never_split",
    "test_closing_a_shell_ends_its_blocks",
    "test_closing_the_executor_ends_everything",
    "test_concurrent_blocks_do_not_mix",
    "test_exit_statuses",
    "test_head_and_tail_and_where_the_rest_is",
    "test_many_blocks_leave_no_descriptors",
    "test_one_event_loop_after_another",
    "test_opening_twice_is_the_same_shell",
    "test_threads_call_at_the_same_time",
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Return where the fake is."""
    with cloud() as (_, place):
        yield place


@pytest.fixture
def make(tmp_path: Path, url: str) -> Iterator[Callable[..., Executor]]:
    """Return what makes an executor whose SDK speaks with the fake."""

    def build(**options: Any) -> Executor:
        return FakedMicrosandbox(tmp_path / "workspace", **options)

    with microsandbox.backend_scope(microsandbox.BackendKind.CLOUD, url=url, api_key=KEY):
        yield build
