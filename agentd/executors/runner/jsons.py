"""JSON by what `json` is made of: that itself brings regular expressions along, a seventh of a sandbox's start.

`encode` gives ASCII without a blank in it; `scan` reads one value and tells where that ends.
"""

from __future__ import annotations

from collections.abc import Callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    encode: Callable[[object], str]
    scan: Callable[[str, int], tuple[dict[str, object], int]]
else:
    try:
        from _json import encode_basestring_ascii, make_encoder, make_scanner

        class _Plain:
            strict = True
            object_hook = object_pairs_hook = None
            parse_float, parse_int, parse_constant = float, int, float

        def _refuse(value):
            raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")

        _chunks = make_encoder(None, _refuse, encode_basestring_ascii, None, ":", ",", False, False, True)
        scan = make_scanner(_Plain())

        def encode(value):
            return "".join(_chunks(value, 0))

        scan(encode([{"a": 1.5}]), 0)
    except (ImportError, TypeError):  # an interpreter that is made in another way
        import json

        encode = json.JSONEncoder(separators=(",", ":")).encode
        scan = json.JSONDecoder().scan_once


def decode(text: str) -> object:
    """Return the value of JSON that has no blanks around it; raises `ValueError` for what is none."""
    try:
        value, end = scan(text, 0)
    except (StopIteration, RecursionError) as error:
        raise ValueError("no JSON") from error
    if end != len(text):
        raise ValueError("more than JSON")
    return value
