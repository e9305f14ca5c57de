"""What a block prints: in order, live, decoded, within bounds."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.core.actions import Action, Bindings, Kind
from agentd.core.protocols import Executor
from tests.contract.executor.harness import EchoDoor, Session


async def test_output_comes_while_the_block_runs(session: Session) -> None:
    seen: list[tuple[float, str]] = []
    action = Action("live", Kind.BASH, "echo one; sleep 0.5; echo two; sleep 0.5; printf three")
    shell = session.shell
    begun = time.monotonic()
    await shell.run(action, Bindings(), EchoDoor(), lambda text: seen.append((time.monotonic() - begun, text)))
    assert [text for _, text in seen] == ["one\n", "two\n", "three"]
    assert seen[1][0] - seen[0][0] > 0.2


async def test_characters_are_never_split(session: Session) -> None:
    code = (
        r"printf '\xe2\x82'; sleep 0.2; printf '\xac!'; sleep 0.1; printf '\xff\xe2\x28'; sleep 0.1; printf '\xf0\x9f'"
    )
    result = await session.bash(code)
    assert result.output == "€!\ufffd\ufffd(\ufffd"
    assert "".join(session.live) == result.output
    assert session.live[0] != "\ufffd"


async def test_a_ten_megabyte_line(session: Session, executor: Executor) -> None:
    result = await session.python("import sys; sys.stdout.write('ab' * 5_000_000); print('END')")
    assert result.exit_code == 0
    assert result.total_bytes == 10_000_004
    assert len(result.output) < 21_000
    assert result.output.startswith("abab")
    assert result.output.endswith("END\n")
    assert (executor.workspace_dir / result.spill).stat().st_size == 10_000_004


async def test_head_and_tail_and_where_the_rest_is(session: Session, executor: Executor) -> None:
    result = await session.bash("seq 100000")
    lines = result.output.splitlines()
    assert lines[:3] == ["1", "2", "3"]
    assert lines[-1] == "100000"
    note = next(line for line in lines if line.startswith("[..."))
    assert result.spill in note
    assert all(line.isdigit() or line == note for line in lines)
    whole = (executor.workspace_dir / result.spill).read_text()
    assert whole == "".join(f"{number}\n" for number in range(1, 100_001))
    assert (executor.workspace_dir / ".agentd/.gitignore").read_text() == "*\n"


async def test_a_small_budget(make: Callable[..., Executor]) -> None:
    executor = make(output_tokens=50)
    session = Session(await executor.open("one"))
    assert (await session.bash("printf 'x%.0s' {1..200}")).output == "x" * 200
    assert not (executor.workspace_dir / ".agentd").exists()
    result = await session.bash("printf 'é%.0s' {1..200}")
    assert result.total_bytes == 400
    assert set(result.output.split("[...")[0].strip()) == {"é"}
    assert "\ufffd" not in result.output
    await executor.aclose()


async def test_an_endless_printer_is_bounded(session: Session) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = await session.bash("yes", timeout=2.0)
    assert (result.exit_code, result.reason) == (124, "timeout")
    assert len(result.output) < 21_000
    assert len("".join(session.live)) < 2_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
    assert await session.out("echo next") == "next\n"


async def test_a_block_may_close_its_own_output(session: Session) -> None:
    result = await session.bash("echo seen; exec >&- 2>&-; sleep 0.2; exit 4")
    assert (result.exit_code, result.output) == (4, "seen\n")


async def test_nobody_waits_for_a_pipe_that_is_held_open(session: Session, mark: str) -> None:
    begun = time.monotonic()
    result = await session.bash(f"echo started; sleep {mark} &")
    assert (result.exit_code, result.output) == (0, "started\n")
    assert time.monotonic() - begun < 10


async def test_late_output_goes_to_the_file_of_its_block_only(session: Session, executor: Executor) -> None:
    await session.bash("(sleep 0.3; echo late) &")
    assert await session.out("sleep 0.8; echo own") == "own\n"
    assert (executor.workspace_dir / ".agentd/output/block-1.txt").read_text() == "late\n"


async def test_concurrent_blocks_do_not_mix(session: Session) -> None:
    scripts = [f"for i in $(seq 300); do echo {name}-$i; done" for name in "abcd"]
    results = await asyncio.gather(*(session.bash(script) for script in scripts))
    for name, result in zip("abcd", results, strict=True):
        assert result.output == "".join(f"{name}-{number}\n" for number in range(1, 301))


async def test_an_error_of_the_reader_ends_the_block_and_comes_back(session: Session) -> None:
    def fail(text: str) -> None:
        raise ValueError("reader")

    with pytest.raises(ValueError, match="reader"):
        await session.shell.run(Action("x", Kind.BASH, "echo a; sleep 60"), Bindings(), EchoDoor(), fail)
    assert await session.out("echo next") == "next\n"


async def test_a_full_disk_loses_the_file_and_not_the_result(
    make: Callable[..., Executor], small_disk: Path, tmp_path: Path
) -> None:
    (tmp_path / "workspace").symlink_to(small_disk)
    executor = make()
    session = Session(await executor.open("one"))
    result = await session.bash("seq 1000000")
    assert result.exit_code == 0
    assert result.output.endswith("1000000\n")
    assert "No space left on device" in result.output
    assert await session.out("echo next") == "next\n"
    await executor.aclose()
