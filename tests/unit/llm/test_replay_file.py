from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from agentd.llm.cassette import opened
from agentd.llm.redact import HIDDEN, Secrets, clean_fields, clean_url
from agentd.llm.sse import SseParser
from agentd.llm.sse_text import join, split

TEXT = st.text(st.characters(codec="utf-8"))
JSONS: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECTS: Any = st.dictionaries(TEXT, JSONS, max_size=4)
BODIES = (
    OBJECTS.map(lambda value: json.dumps(value).encode())
    | OBJECTS.map(lambda value: json.dumps(value, ensure_ascii=False, indent=1).encode())
    | TEXT.map(str.encode)
    | st.binary(max_size=40)
    | st.sampled_from([b'{"a": "\\ud800"}', b'{"a": 1e400}', b"[=, ~]", b"NaN", b"{}", b"null"])
    | st.just(b'["\\u0000\\u0085 x\\n y \\n", "=", "~", "0x1", "1_0", "2026-11-20", "yes", "<<"]')
)


def meaning(body: bytes) -> Any:
    try:
        value = json.loads(body)
    except ValueError:
        return body
    return value if isinstance(value, dict | list) else body


@given(asked=BODIES, answered=BODIES)
def test_bodies_come_back_as_they_went_in(asked: bytes, answered: bytes, tmp_path_factory: Any) -> None:
    from vcr.request import Request

    path: Path = tmp_path_factory.mktemp("file") / "x.yaml"
    response = {
        "status": {"code": 200, "message": "OK"},
        "headers": {"content-type": ["application/json"]},
        "body": {"string": answered},
        "ended": "ReadError: x",
    }
    with opened(path, lambda *_: True, fresh=True) as tape:
        tape.append(Request("POST", "http://x/y", asked, {"content-type": "a"}), response)
    with opened(path, lambda *_: True, fresh=False) as tape:
        (request,), (played,) = tape.requests, tape.responses
    assert meaning(request.body or b"") == meaning(asked)
    assert meaning(played["body"]["string"] or b"") == meaning(answered)
    assert played["headers"] == response["headers"]
    assert played["ended"] == "ReadError: x"


FIELDS = ["data: 1", 'data: {"a": 1}', "data:x", "event: e", "data", ": hi", "id: 7", "", "", "\r", "data: [DONE]"]
LINES = st.lists(st.sampled_from(FIELDS) | TEXT, max_size=12)


@given(lines=LINES, end=st.sampled_from(["\n", "\r\n"]))
def test_a_stream_keeps_its_events(lines: list[str], end: str) -> None:
    text = end.join(lines)
    again = join(split(text))

    def events(of: str) -> list[Any]:
        parser = SseParser()
        try:
            return [*parser.feed(of.encode()), *parser.close()]
        except Exception as error:  # noqa: BLE001 - a broken stream stays broken in the same way
            return [type(error)]

    assert events(again) == events(text)
    assert join(split(again)) == again
    if "\r" not in text:  # nothing is lost but the choice of a blank behind a field's name
        without = [re.sub(r"(?m)^(data|event): ?", r"\1:", each) for each in (again, text)]
        assert without[0] == without[1]


def test_a_line_end_within_an_event_is_not_smoothed_out() -> None:
    text = 'data: {"a":\r1}\n\n'  # two lines to a reader of streams, white space to one of JSON
    assert [block.raw for block in split(text)] == [text]


KEY = "sk-0123456789abcdef"


@given(before=TEXT, after=TEXT, cuts=st.lists(st.integers(0, 60), max_size=6))
def test_a_secret_in_pieces_is_hidden_as_a_whole(before: str, after: str, cuts: list[int]) -> None:
    text = f"{before}{KEY}{after}"
    at = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    events: list[Any] = [{"n": index, "delta": text[a:b]} for index, (a, b) in enumerate(pairwise(at))]
    Secrets([KEY]).clean(events)
    assert "".join(event["delta"] for event in events) == text.replace(KEY, HIDDEN)
    assert [event["n"] for event in events] == list(range(len(events)))


def test_what_counts_as_a_secret() -> None:
    headers = {
        "authorization": f"Bearer {KEY}",
        "cookie": "a=cookie-cookie; b=short",
        "x-goog-api-key": "goog-0123456789",
        "content-type": "application/json",
        "accept": "text/event-stream",
    }
    url = "http://me:my%20password%21@host/x?key=key-in-query-1&alt=application/json"
    body: Any = {"tools": [{"authorization": "Bearer other-token-12345", "max_tokens": 5, "token": "application/json"}]}
    secrets = Secrets.of(headers, url, body, ["mine, all mine"])
    shown = f"{KEY} cookie-cookie short goog-0123456789 key-in-query-1 my password! other-token-12345 mine, all mine"
    assert secrets.text(shown) == " ".join([HIDDEN, HIDDEN, "short", *[HIDDEN] * 5])
    assert secrets.text("application/json text/event-stream Bearer") == "application/json text/event-stream Bearer"
    clean_fields(body)
    assert body == {"tools": [{"authorization": HIDDEN, "max_tokens": 5, "token": "application/json"}]}
    assert clean_url(url) == "http://host/x?alt=application%2Fjson"
    assert clean_url("https://h:1/p?api-key=1&api-version=2&sig=3") == "https://h:1/p?api-version=2"


def test_a_short_key_is_hidden_only_where_it_is_the_whole_text() -> None:
    secrets = Secrets(["scripted"])
    events: list[Any] = [{"a": "scripted", "b": "m-scripted"}]
    secrets.clean(events)
    assert events == [{"a": HIDDEN, "b": "m-scripted"}]
    assert Secrets(["m", "test"]).text("m") == "m"


def test_the_file_is_one_that_any_yaml_reader_reads(tmp_path: Path) -> None:
    from vcr.request import Request

    path = tmp_path / "x.yaml"
    stream = b'event: a\ndata: {"t": "x\\ny"}\n\n: ping\n\ndata: [DONE]\n\ndata: {"cut'
    response = {
        "status": {"code": 200, "message": "OK"},
        "headers": {"content-type": ["text/event-stream"]},
        "body": {"string": stream},
    }
    with opened(path, lambda *_: True, fresh=True) as tape:
        tape.append(Request("POST", "http://x/y", b'{"text": "one\\ntwo\\n"}', {}), response)
    whole = yaml.safe_load(path.read_text())["interactions"][0]
    assert whole["request"]["body"] == {"json": {"text": "one\ntwo\n"}}
    assert whole["response"]["body"]["events"] == [
        {"event": "a", "data": {"t": "x\ny"}},
        {"raw": ": ping\n\n"},
        {"data": "[DONE]"},
        {"raw": 'data: {"cut'},
    ]
    assert "text: |\n          one\n          two\n" in path.read_text()
    with opened(path, lambda *_: True, fresh=False) as tape:
        assert tape.responses[0]["body"]["string"] == stream.replace(b'{"t": ', b'{"t":')
