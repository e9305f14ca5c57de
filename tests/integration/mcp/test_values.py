"""Results of our own server, through the real SDK and a real process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.core.errors import ServerFailed
from agentd.core.tools import ToolSpec
from agentd.mcp.pool import ServerPool
from agentd.mcp.processes import MARK
from tests.fakes.mcp_faulty import BAD, CALLS, HOSTILE, PIXEL
from tests.fakes.mcp_servers import by_name, failure, faulty, value


async def test_what_tools_answer(pool: ServerPool) -> None:
    tools = await pool.connect([faulty()])
    assert await value(tools, "echo", {"text": "é\n\x00"}) == "é\n\x00"
    assert await value(tools, "lines") == "one\ntwo"
    assert await value(tools, "structured") == {"a": 1}
    assert await value(tools, "wrapped") == 3
    assert await value(tools, "nothing") is None
    assert await value(tools, "many") == "\n".join("x" * 10_000)
    assert await failure(tools, "fail") == "no such thing"
    assert "not a number" in await failure(tools, "mismatch")
    assert "malformed" in await failure(tools, "malformed")


async def test_specs(pool: ServerPool) -> None:
    specs = {tool.spec.name: tool.spec for tool in await pool.connect([faulty()])}
    assert list(specs) == list(CALLS)
    assert specs["echo"] == ToolSpec("echo", "It does echo.", {"type": "object"}, None, "mcp_faulty")
    assert specs["wrapped"].output_schema == {"type": "integer"}


async def test_arguments_arrive_as_they_were_given(pool: ServerPool) -> None:
    given = {"none": None, "deep": {"none": [None, {}]}, "big": 10**30, "text": "\u2028 \U0001f600", "f": 0.1, "": ""}
    assert await value(await pool.connect([faulty()]), "arguments", given) == given


async def test_arguments_that_no_message_can_carry_are_refused_and_harm_nothing(pool: ServerPool) -> None:
    tools = await pool.connect([faulty()])
    assert "not valid JSON" in await failure(tools, "echo", {"text": "\ud800"})
    assert await value(tools, "echo", {"text": "still here"}) == "still here"


async def test_binary_results_are_saved(pool: ServerPool, tmp_path: Path) -> None:
    def save(suffix: str, data: bytes) -> str:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}{suffix}"
        path.write_bytes(data)
        return path.name

    tools = await pool.connect([faulty()], save=save)
    assert await value(tools, "image") == {"type": "image", "mimeType": "image/png", "file": "0.png"}
    assert (tmp_path / "0.png").read_bytes() == PIXEL
    assert await value(tools, "shot") == {
        "width": 1,
        "files": [{"type": "image", "mimeType": "image/png", "file": "1.png"}],
    }
    mixed = await value(tools, "mixed")
    assert isinstance(mixed, list) and mixed[0] == "look:" and mixed[3] == "inside"
    assert [part["file"] for part in mixed if isinstance(part, dict) and "file" in part] == ["2.png", "3.wav", "4.zip"]
    assert "could not be saved" in await failure(tools, "broken_image")


async def test_a_result_over_the_limit_fails_alone(make_pool: Callable[..., ServerPool]) -> None:
    pool = make_pool(max_result=1 << 20)
    tools = await pool.connect([faulty()])
    process = await value(tools, "pid")
    calls = [value(tools, "echo", {"text": "x" * 1000}) for _ in range(5)]
    *echoes, text = await asyncio.gather(*calls, failure(tools, "big", {"size": 3 << 20}))
    assert "limit is 1048576" in str(text) and set(echoes) == {"x" * 1000}
    assert await value(tools, "big", {"size": 1000}) == "x" * 1000
    assert await value(tools, "pid") == process


@pytest.mark.parametrize("pages", [3, 7])
async def test_all_pages_of_a_listing(pool: ServerPool, pages: int) -> None:
    assert list(by_name(await pool.connect([faulty("--pages", str(pages))]))) == list(CALLS)


async def test_pages_without_end(pool: ServerPool) -> None:
    with pytest.raises(ServerFailed, match="go in a circle"):
        await pool.connect([faulty("--endless-pages")])


async def test_hostile_names_are_passed_on_and_a_second_of_a_name_is_left_out(pool: ServerPool) -> None:
    tools = await pool.connect([faulty("--hostile")])
    assert [tool.spec.name for tool in tools] == [*CALLS, *HOSTILE[:-1]]
    for name in HOSTILE[:-1]:
        assert await value(tools, name, {"text": "ok"}) == "ok"


async def test_bad_tools_do_not_hide_the_good_ones(pool: ServerPool) -> None:
    tools = await pool.connect([faulty("--bad-tools")])
    callable_ones = [tool["name"] for tool in BAD if isinstance(tool, dict) and isinstance(tool.get("name"), str)]
    assert [tool.spec.name for tool in tools] == [*callable_ones, *CALLS]
    assert await value(tools, "wrong_type", {"text": "ok"}) == "ok"


async def test_garbage_between_messages_is_skipped(pool: ServerPool) -> None:
    tools = await pool.connect([faulty("--garbage", "1000")])
    assert await value(tools, "noise") == "quiet again"


async def test_changed_tools_are_listed_at_the_next_connect(pool: ServerPool) -> None:
    server = faulty()
    tools = await pool.connect([server])
    assert await value(tools, "change") == "changed"
    assert "extra_0" in by_name(await pool.connect([server]))


async def test_the_list_is_kept_while_the_server_does_not_say_that_it_changed(pool: ServerPool, tmp_path: Path) -> None:
    server = faulty("--log", str(tmp_path / "log"))
    for _ in range(10):
        assert by_name(await pool.connect([server])).keys() == CALLS.keys()
    assert (tmp_path / "log").read_text().count("tools/list") == 1


async def test_a_server_sees_six_variables_of_ours_and_its_own(
    pool: ServerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("MY_TOKEN", "secret")
    seen = await value(await pool.connect([faulty(env={"GIVEN": "yes"})]), "secret")
    assert isinstance(seen, dict) and seen["GIVEN"] == "yes"
    assert seen.keys() <= {"HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "GIVEN", "LC_CTYPE", MARK}
