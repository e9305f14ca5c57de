"""The runner's JSON, against the module `json`."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.executors.runner.jsons import decode, encode

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_it_says_what_json_says(value: object) -> None:
    text = json.dumps(value, separators=(",", ":"))
    assert encode(value) == text
    assert decode(text) == json.loads(text) == value


@given(st.text(alphabet='[]{}",:0123456789.eE+-truefalsn\\u \n'))
def test_it_reads_what_json_reads(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError):  # whatever it says
            decode(text)
        return
    if text != text.strip():
        with pytest.raises(ValueError):
            decode(text)
    else:
        assert decode(text) == expected


@pytest.mark.parametrize("text", ["", "1 2", " 1", '{"a":}', "[" * 200_000, '{"a":' * 200_000, '"\x01"'])
def test_what_is_no_json_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        decode(text)


def test_odd_numbers_and_halves_of_characters() -> None:
    assert decode(encode("\ud800")) == "\ud800"
    odd = decode(encode(math.nan))
    assert isinstance(odd, float) and math.isnan(odd)
    assert decode(encode(-math.inf)) == -math.inf
    with pytest.raises(TypeError, match="bytes is not JSON"):
        encode(b"x")
