"""What must not be in the file, looked for in the file; and that people can read the rest."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from openai import BadRequestError, OpenAI

from agentd.llm.replay import replay
from agentd.llm.scripted import Reply, ScriptedModel
from tests.integration.replay.conftest import Service

HTTPX: Any = importlib.import_module("httpx")
KEY = "sk-proj-AbCdEf0123456789_-XyZ"
SECRETS = {
    "key": KEY,
    "organisation": "org-acme-0123456789",
    "project": "proj_acme_0123456789",
    "cookie": "a-cookie-of-mine-42",
    "mcp": "token-for-another-server",
    "field": "hunter2hunter2hunter2",
    "own": "what only I know of",
}


def clean(cassette: Path) -> str:
    text = cassette.read_text()
    assert [name for name, value in SECRETS.items() if value in text] == []
    return text


def connected(url: str, key: str = KEY) -> OpenAI:
    headers = {"cookie": f"theirs={SECRETS['cookie']}"}
    options: dict[str, Any] = {"organization": SECRETS["organisation"], "project": SECRETS["project"]}
    return OpenAI(base_url=url, api_key=key, default_headers=headers, max_retries=0, **options)


@pytest.mark.parametrize("chunk", [3, 1000])
def test_nothing_of_the_credentials_is_in_the_file(chunk: int, tmp_path: Path) -> None:
    cassette = tmp_path / "secret.yaml"
    said = "; ".join(SECRETS.values())
    tools: list[Any] = [
        {
            "type": "mcp",
            "server_label": "x",
            "server_url": "https://mcp.example/x",
            "authorization": SECRETS["mcp"],
            "headers": {"X-Api-Key": SECRETS["field"]},
        }
    ]

    def dialogue(client: OpenAI) -> None:
        body: dict[str, Any] = {"model": "m", "input": f"My key is {KEY}, not?", "tools": tools}
        client.responses.create(**body)
        list(client.responses.create(**body, stream=True))
        with pytest.raises(BadRequestError):
            client.responses.create(**body)

    script = [Reply(said, chunk=chunk), Reply(said, chunk=chunk), Reply(f"Wrong key: {KEY}", status=400)]
    with ScriptedModel(script) as server, connected(server.base_url) as client:
        with replay(cassette, secrets=[SECRETS["own"]]):
            dialogue(client)
        assert all(value in str(server.requests[0]) for name, value in SECRETS.items() if name != "own")
    text = clean(cassette)
    assert "My key is REDACTED, not?" in text
    assert "Wrong key: REDACTED" in text
    # No piece of it either: the deltas of a stream are put together before they are looked at.
    stream = yaml.safe_load(text)["interactions"][1]["response"]["body"]["events"]
    spoken = "".join(event["data"]["delta"] for event in stream if event.get("event") == "response.output_text.delta")
    assert spoken == "; ".join(["REDACTED"] * len(SECRETS))
    with replay(cassette, secrets=[SECRETS["own"]]), connected(server.base_url) as client:
        dialogue(client)


def test_it_is_played_back_without_the_key(tmp_path: Path) -> None:
    cassette = tmp_path / "secret.yaml"
    with ScriptedModel(["Hello."]) as server, connected(server.base_url) as client, replay(cassette):
        client.responses.create(model="m", input="Hi")
    clean(cassette)
    with OpenAI(base_url="http://127.0.0.1:9/v1", api_key="none") as client, replay(cassette):
        assert client.responses.create(model="m", input="Hi").output_text == "Hello."


def test_keys_in_addresses_and_headers_of_other_providers(service: Service, tmp_path: Path) -> None:
    cassette = tmp_path / "other.yaml"
    service.answer = f'{{"echo": "{KEY}"}}'
    url = service.url.replace("//", f"//user:{SECRETS['field']}@") + "/v1beta/models/g:generateContent"

    def call() -> Any:
        headers = {"x-goog-api-key": KEY, "x-portkey-virtual-key": SECRETS["mcp"]}
        query = {"alt": "json", "key": KEY}
        return HTTPX.post(url, params=query, headers=headers, json={"contents": [SECRETS["mcp"], KEY]}).json()

    with replay(cassette):
        assert call() == {"echo": KEY}  # the caller gets what came
    text = clean(cassette)
    assert "cookie-of-the-server" not in text
    assert "generateContent?alt=json" in text
    with replay(cassette):
        assert call() == {"echo": "REDACTED"}


def test_a_short_dummy_key_does_not_garble_the_text(tmp_path: Path) -> None:
    cassette = tmp_path / "dummy.yaml"
    with ScriptedModel(["This test is a test."]) as server, OpenAI(base_url=server.base_url, api_key="test") as client:
        with replay(cassette):
            client.responses.create(model="test", input="test")
        with replay(cassette, mode="replay"):
            assert client.responses.create(model="test", input="test").output_text == "This test is a test."


def test_people_can_read_it(tmp_path: Path) -> None:
    cassette = tmp_path / "readable.yaml"
    prompt = "A first line,\nand a second: é 日本."
    with ScriptedModel(["Hello.", "Hello."]) as server, connected(server.base_url) as client, replay(cassette):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": prompt}])
        list(client.chat.completions.create(model="m", messages=[{"role": "user", "content": prompt}], stream=True))
    text = cassette.read_text()
    assert "          content: |-\n            A first line,\n            and a second: é 日本.\n" in text
    first, second = yaml.safe_load(text)["interactions"]
    assert first["response"]["body"]["json"]["choices"][0]["message"]["content"] == "Hello."
    assert second["response"]["body"]["events"][-1] == {"data": "[DONE]"}
    assert sum("[DONE]" in line for line in text.splitlines()) == 1
    assert text.count("- {data: {") == len(second["response"]["body"]["events"]) - 1  # a line an event
