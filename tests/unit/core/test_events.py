"""Events: JSON and back, and readers that are older than what they read."""

from __future__ import annotations

import dataclasses
import json

from hypothesis import given
from hypothesis import strategies as st

from agentd.core.events import EVENT_TYPES, Record, Usage, from_json, to_json

RECORDS = st.builds(
    Record,
    session=st.text(),
    seq=st.integers(1),
    turn=st.text(),
    ts=st.floats(0, 1e12),
    event=st.one_of(*(st.builds(kind) for kind in EVENT_TYPES.values())),
)


@given(RECORDS)
def test_json_and_back_is_the_same(record: Record) -> None:
    line = to_json(record)
    assert "\n" not in line
    assert repr(from_json(line)) == repr(record)  # a number that is none is not equal to itself


def test_an_unknown_type_is_skipped_and_an_unknown_field_dropped() -> None:
    whole = json.loads(to_json(Record("s", 1, "t", 1.0, Usage(1, 2))))
    assert from_json(json.dumps({**whole, "type": "usage.of.tomorrow"})) is None
    later = {**whole, "data": {**whole["data"], "audio_tokens": 3}}
    assert from_json(json.dumps(later)) == Record("s", 1, "t", 1.0, Usage(1, 2))


def test_every_type_has_its_name_once() -> None:
    assert len(EVENT_TYPES) == len(set(EVENT_TYPES.values()))
    assert all(dataclasses.is_dataclass(kind) and kind.type == name for name, kind in EVENT_TYPES.items())
