"""Any provider behind a patched client: fenced code and JSON tool calls, on both APIs, over the provider's protocol."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI, RateLimitError

from agentd import patch_openai_with_mcp, patch_openai_with_ptc
from tests.fakes.aimock import AiMock, aimock
from tests.fakes.driver import Driver
from tests.integration.patch.calls import add, calls_of, own_function

pytestmark = pytest.mark.xdist_group("litellm")

CALLS = [{"name": "add", "arguments": {"a": 1}}, {"name": "add", "arguments": {"a": 40}}]
OWN = [
    {"id": "call_own", "name": "ask_user", "arguments": {"question": "why?"}},
    {"name": "add", "arguments": {"a": 1}},
]
FENCE = "Counting.\n\n```bash:execute\necho forty-two | tr - _\n```\n"
USAGE = {
    "input_tokens": 1000,
    "output_tokens": 100,
    "prompt_tokens": 1000,
    "completion_tokens": 100,
    "total_tokens": 1100,
}
FIXTURES: list[dict[str, Any]] = [
    {"match": {"userMessage": "and then"}, "response": {"content": "And then nothing."}},
    {
        "match": {"userMessage": "sums", "toolResultContains": "42"},
        "response": {"content": "3 and 42.", "usage": USAGE},
    },
    {"match": {"userMessage": "sums", "turnIndex": 1}, "response": {"content": "3 and 42.", "usage": USAGE}},
    {"match": {"userMessage": "sums"}, "response": {"content": "Adding.", "toolCalls": CALLS, "usage": USAGE}},
    {"match": {"userMessage": "mine"}, "response": {"toolCalls": OWN}},
    {"match": {"userMessage": "forty_two"}, "response": {"content": "It said so.", "usage": USAGE}},
    # aimock does not read the results of calls as LiteLLM writes them for Gemini, which takes both spellings.
    {"match": {"model": "gemini-2.5-flash", "turnIndex": 1}, "response": {"content": "3 and 42."}},
    {"match": {"userMessage": "count"}, "response": {"content": FENCE, "usage": USAGE}},
    {"match": {"userMessage": "busy"}, "response": {"error": {"message": "slow down"}, "status": 429, "retryAfter": 7}},
]
NAMES = ["openai/gpt-5-mini", "claude-sonnet-4-5", "ollama_chat/llama3", "gemini/gemini-2.5-flash"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AiMock]:
    with aimock(tmp_path_factory.mktemp("aimock"), FIXTURES) as running:
        yield running


@pytest.fixture
def mock(server: AiMock, monkeypatch: pytest.MonkeyPatch) -> AiMock:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    server.forget()
    return server


def connect(driver: Driver, workspace: Path, patch: Any, **options: Any) -> None:
    """Patch a client of OpenAI's own address: only then a name says which provider is meant."""
    client = (AsyncOpenAI if driver.is_async else OpenAI)(api_key="key-of-the-client", max_retries=0)
    driver.client = patch(client, cwd=workspace, **options)


@pytest.mark.parametrize("name", NAMES)
def test_tool_calls(driver: Driver, mock: AiMock, workspace: Path, name: str) -> None:
    connect(driver, workspace, patch_openai_with_mcp, tools=[add])
    answer = driver.ask("sums", model=name)
    assert answer.text.endswith("3 and 42.") and answer.run.status == "completed"
    asked = mock.journal()
    assert len(asked) == 2 and "key-of-the-client" not in str(asked)
    usage = answer.run.usage
    if name.startswith(("claude", "openai")):  # aimock reports none for the others
        assert (usage.input_tokens, usage.output_tokens) == (2000, 200)
    if name.startswith("claude"):
        assert usage.cost_usd == pytest.approx(2 * (1000 * 3 + 100 * 15) / 1e6)
    if name.startswith("ollama"):
        assert usage.cost_usd is None


@pytest.mark.parametrize("name", NAMES)
def test_fenced_code(driver: Driver, mock: AiMock, workspace: Path, name: str) -> None:
    connect(driver, workspace, patch_openai_with_ptc, tools=[])
    answer = driver.ask("count", model=name)
    assert answer.text.endswith("It said so.") and answer.outputs == ["forty_two\n"]


@pytest.mark.parametrize("name", NAMES[:3])
def test_the_callers_own_function(api: str, mock: AiMock, workspace: Path, name: str) -> None:
    for mode in ("sync", "async"):
        driver = Driver(api, mode)
        connect(driver, workspace, patch_openai_with_mcp, tools=[add])
        answer = driver.ask("mine", model=name, tools=[own_function(api)])
        assert [called for _, called in calls_of(answer)] == ["ask_user"]
        driver.close()


@pytest.mark.parametrize("name", ["claude-sonnet-4-5", "ollama_chat/llama3"])
@pytest.mark.parametrize("patch", [patch_openai_with_mcp, patch_openai_with_ptc])
def test_a_bridge_forgets_and_our_transcript_stands_in(mock: AiMock, workspace: Path, name: str, patch: Any) -> None:
    driver = Driver("responses", "sync")
    connect(driver, workspace, patch, tools=[add])
    first = driver.ask("sums" if patch is patch_openai_with_mcp else "count", model=name)
    second = driver.ask("and then?", model=name, previous_response_id=first.response.id)
    assert second.text == "And then nothing."
    assert second.response.previous_response_id == first.response.id
    sent = str(mock.journal()[-1]["body"]["messages"])
    assert ("42" if patch is patch_openai_with_mcp else "forty_two") in sent and "and then?" in sent
    with pytest.raises(ValueError, match="previous_response_id"):
        driver.ask("and then?", model=name, previous_response_id="resp_of_another_process")
    driver.close()


def test_a_conversation_that_nobody_keeps_is_ours(mock: AiMock, workspace: Path) -> None:
    driver = Driver("responses", "sync")
    connect(driver, workspace, patch_openai_with_mcp, tools=[add])
    driver.ask("sums", model="claude-sonnet-4-5", conversation="conv_1")
    driver.ask("and then?", model="claude-sonnet-4-5", conversation="conv_1")
    driver.ask("and then what?", model="claude-sonnet-4-5", conversation={"id": "conv_1"})
    sent = str(mock.journal()[-1]["body"]["messages"])
    assert sent.count("and then?") == 1 and "42" in sent and "And then nothing." in sent
    driver.close()


@pytest.mark.parametrize("name", ["claude-sonnet-4-5", "openai/gpt-5-mini"])
def test_a_providers_error_is_the_sdks(driver: Driver, mock: AiMock, workspace: Path, name: str) -> None:
    connect(driver, workspace, patch_openai_with_mcp, tools=[add])
    with pytest.raises(RateLimitError) as caught:
        driver.ask("busy", model=name)
    assert caught.value.status_code == 429 and caught.value.response.headers["retry-after"] == "7"
    assert caught.value.__dict__["agentd"].status == "failed"
