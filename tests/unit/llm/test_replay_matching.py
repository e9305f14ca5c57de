from __future__ import annotations

import json
import tempfile
from typing import Any

import pytest

from agentd.llm.matching import Asked, Masks, difference
from agentd.llm.replay_http import is_model_call

MASKS = Masks()


def asked(body: Any, path: str = "/v1/responses", masks: Masks = MASKS) -> Asked:
    return masks.asked("POST", f"http://127.0.0.1:1{path}", json.dumps(body).encode())


SAME = [
    ({"a": 1, "b": [{"c": 1, "d": 2}]}, {"b": [{"d": 2, "c": 1}], "a": 1}),
    ("exit code 0, 0.02 s", "exit code 0, 11.97 s"),
    ("ci_0123456789abcdef01234567 failed", "ci_fedcba9876543210fedcba98 failed"),
    ("id 123e4567-e89b-12d3-a456-426614174000", "id 00000000-e89b-12d3-a456-426614174000"),
    ("at 2026-11-20T10:00:00Z", "at 2026-11-21T23:59:59.123+01:00"),
    ("in /tmp/tmpab12cd_f/x.txt", "in /tmp/tmpzz98yy77/x.txt"),
    ("in /tmp/agentd-ab12cd_f", "in /tmp/agentd-qqqqqqqq"),
    (f"in {tempfile.gettempdir()}/tmpab12cd_f/x", "in /private/var/folders/ab/cd/T/tmpzz98yy77/x"),
    ("/tmp/pytest-of-me/pytest-3/test_x0/a", "/tmp/pytest-of-you/pytest-41/popen-gw1/test_x0/a"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_differs_by_itself_does_not_count(one: Any, other: Any) -> None:
    assert asked({"input": one}).matches(asked({"input": other}))


DIFFERENT = [
    ({"a": 1}, {"a": True}),
    ({"a": 1}, {"a": 1.0}),
    ({"a": None}, {}),
    (["a", "b"], ["b", "a"]),
    ("exit code 0, 0.02 s", "exit code 1, 0.02 s"),
    ("Today is 2026-11-20.", "Today is 2026-11-21."),
    ("List files in /tmp/", "List files in /var/"),
    ("in /tmp/tmpab12cd_f/x.txt", "in /tmp/tmpab12cd_f/y.txt"),
    ("call_1", "call_2"),
    ("0.5 apples", "0.6 apples"),
    ("tmpab12cd_f", "tmpzz98yy77"),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_was_changed_counts(one: Any, other: Any) -> None:
    assert not asked({"input": one}).matches(asked({"input": other}))


def test_the_address_counts_but_not_the_host() -> None:
    body = b'{"model": "m"}'
    one = MASKS.asked("POST", "http://one:80/v1/responses", body)
    assert one.matches(MASKS.asked("POST", "https://two/v1/responses", body))
    assert not one.matches(MASKS.asked("POST", "http://one:80/v2/responses", body))
    assert not one.matches(MASKS.asked("POST", "http://one:80/v1/responses?x=1", body))
    assert not one.matches(MASKS.asked("GET", "http://one:80/v1/responses", body))


def test_own_patterns_and_bodies_that_are_not_json() -> None:
    masks = Masks([r"build \d+"])
    assert asked("build 1", masks=masks).matches(asked("build 22", masks=masks))
    assert not asked("build x", masks=masks).matches(asked("build 22", masks=masks))
    form = '--{0}\r\nContent-Disposition: form-data; name="file"\r\n\r\n\xff{1}\r\n--{0}--\r\n'
    upload = [
        masks.asked("POST", "http://x/files", form.format(*parts).encode("latin-1"))
        for parts in (("aa11", "x"), ("bb22", "x"), ("bb22", "y"))
    ]
    assert upload[0].matches(upload[1])
    assert not upload[1].matches(upload[2])


def test_the_first_difference_to_the_nearest_request() -> None:
    recorded = [
        asked({"model": "m", "input": "something else", "tools": [1]}),
        asked({"model": "m", "input": [{"role": "user", "content": "x" * 80 + "yes"}]}),
        asked({"model": "m"}, "/v1/chat/completions"),
    ]

    def to(body: Any, path: str = "/v1/responses") -> str:
        return difference(asked(body, path), recorded)

    told = to({"model": "m", "input": [{"role": "user", "content": "x" * 80 + "no"}]})
    assert told.startswith("the nearest is request 2; the first difference is at input[0].content: recorded …'xxxx")
    assert "xyes', now …'xxxx" in told
    assert "at model: recorded 'm', now 'n'" in to({"model": "n", "input": "something else", "tools": [1]})
    assert "at tools[1]: recorded nothing, now 2" in to({"model": "m", "input": "something else", "tools": [1, 2]})
    assert "at tools: recorded [1], now nothing" in to({"model": "m", "input": "something else"})
    assert "the nearest is request 3; the first difference is at model" in to({"model": "x"}, "/v1/chat/completions")
    assert "request 3: recorded POST /v1/chat/completions" in to({"model": "m"}, "/v1/embeddings")
    assert "all 1 recorded answers to it have been played" in to({"model": "m"}, "/v1/chat/completions")
    assert difference(recorded[0], []) == "nothing is recorded"


SDK = {"x-stainless-lang": "python", "user-agent": "AsyncAzureOpenAI/Python 3"}
CALLS = [
    ("GET", "/v1/responses/resp_1", SDK, b"", True),
    ("POST", "/v1/files", SDK, b"\xff", True),
    ("POST", "/anything", {"x-stainless-lang": "python", "user-agent": "Cloudflare/Python 4"}, b'{"model": 1}', False),
    ("POST", "/v1/chat/completions", {}, b'{"model": "m"}', True),
    ("GET", "/v1/chat/completions", {}, b'{"model": "m"}', False),
    ("POST", "/v1/chat/completions/extra", {}, b'{"model": "m"}', False),
    ("POST", "/responses", {}, b'{"jsonrpc": "2.0", "input": 1}', False),
    ("POST", "/responses", {}, b"[1]", False),
    ("POST", "/responses", {}, b"not json", False),
    ("POST", "/messages/", {}, b'{"model": "m"}', False),
    ("POST", "/v1beta/models/gemini:generateContent", {}, b'{"contents": []}', True),
    ("POST", "/model/a.b-v1%3A0/converse-stream", {}, b'{"messages": []}', True),
]


@pytest.mark.parametrize(("method", "path", "headers", "body", "expected"), CALLS)
def test_which_requests_are_calls_of_a_model(
    method: str, path: str, headers: dict[str, str], body: bytes, expected: bool
) -> None:
    assert is_model_call(method, path, headers, lambda: body) is expected
