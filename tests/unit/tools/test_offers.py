"""The names and descriptions under which tools are offered, and the way back from what a model calls them."""

from __future__ import annotations

import re
from collections.abc import Container

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.core.errors import OptionError
from agentd.core.tools import ToolSpec
from agentd.tools.offers import FLAVOURS, Offers, offers

EVERYWHERE = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,63}")


def offered(
    *tools: tuple[str, str], reserved: Container[str] = (), before: Offers | None = None, flavour: str = "openai"
) -> Offers:
    """Offer tools given as (server, name), with both as key."""
    specs = {f"{server}/{name}": ToolSpec(name, f"Does {name}.", server=server) for server, name in tools}
    return offers(specs, flavour, reserved, before)


def names(*tools: tuple[str, str], **options) -> list[str]:
    return [offer.name for offer in offered(*tools, **options)]


@pytest.mark.parametrize(
    ("own", "name"),
    [
        ("read_file", "read_file"),
        ("get-sum", "get-sum"),
        ("read file", "read_file"),
        ("fs.read/file", "fs_read_file"),
        ("Übersetze", "Ubersetze"),
        ("3d", "tool_3d"),
        ("_x_", "x"),
        ("", "tool"),
        ("查询", "tool_bcd6771e"),
        ("a" * 70, f"{'a' * 55}_60779de0"),
    ],
)
def test_a_name_is_one_that_every_api_takes(own: str, name: str) -> None:
    assert names(("srv", own)) == [name]
    assert EVERYWHERE.fullmatch(name)


def test_tools_of_two_servers_that_clash_are_called_after_their_servers() -> None:
    assert names(("git hub", "search"), ("web", "search"), ("web", "read")) == [
        "git_hub__search",
        "web__search",
        "read",
    ]
    assert names(("a", "x y"), ("a", "x_y")) == ["a__x_y", "a__x_y_2"]


def test_long_names_that_are_cut_alike_stay_apart() -> None:
    found = names(*(("s", f"{'x' * 80}{end}") for end in "ab"))
    assert len(set(found)) == 2
    assert found == names(*(("s", f"{'x' * 80}{end}") for end in "ab"))


def test_the_names_of_the_caller_are_not_taken() -> None:
    assert names(("fs", "read"), reserved={"read"}) == ["fs__read"]
    assert names(("", "read"), ("fs", "read"), reserved={"read", "fs__read"}) == ["read_2", "fs__read_2"]


def test_a_tool_keeps_its_name_when_others_come_and_go() -> None:
    first = offered(("fs", "read"), ("fs", "list"))
    second = offered(("web", "read"), ("fs", "read"), before=first)
    assert [offer.name for offer in second] == ["web__read", "read"]
    third = offered(("x", "list"), ("fs", "list"), ("web", "read"), before=second)
    assert [offer.name for offer in third] == ["x__list", "list", "web__read"]


def test_a_name_that_is_reserved_now_is_given_up() -> None:
    first = offered(("fs", "read"))
    assert [offer.name for offer in offered(("fs", "read"), before=first, reserved={"read"})] == ["fs__read"]


def test_an_offer_is_made_once_for_each_tool_and_kind_of_api() -> None:
    specs = {"k": ToolSpec("read", "Reads.")}
    first = offers(specs, "openai")
    assert offers(specs, "openai", before=first)[0] is first[0]
    assert offers(specs, "gemini", before=first)[0].flavour == "gemini"
    changed = offers({"k": ToolSpec("read", "Reads more.")}, "openai", before=first)
    assert (changed[0].name, changed[0].description) == ("read", "Reads more.")


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=90)), unique=True, max_size=6), st.data())
@settings(max_examples=60, deadline=None)
def test_names_are_unique_and_do_not_change_when_a_tool_is_added(tools: list[tuple[str, str]], data: st.DataObject):
    specs = {f"{server}\0{name}": ToolSpec(name, server=server) for server, name in tools}
    found = offers(specs, "gemini")
    assert all(EVERYWHERE.fullmatch(offer.name) for offer in found)
    assert len({offer.name.casefold() for offer in found}) == len(found)
    assert [offer.key for offer in found] == list(specs)
    assert all(found.find(offer.name) is offer for offer in found)
    more = offers(specs | {"new": data.draw(st.sampled_from([*specs.values(), ToolSpec("t")]))}, "gemini", before=found)
    assert [offer.name for offer in more][: len(found)] == [offer.name for offer in found]


def test_what_a_model_makes_of_a_name_is_found() -> None:
    found = offered(("my fs", "read_file"), ("my fs", "get-sum"), ("web", "list"), ("db", "list"))
    for called in (
        *("read_file", "functions.read_file", "default_api.read_file", "tools:read_file", "Read-File", "readFile"),
        *("mcp__my_fs__read_file", "my_fs.read_file", "my-fs__read_file", "mcp__other__read_file"),
    ):
        offer = found.find(called)
        assert offer is not None and offer.key == "my fs/read_file", called
    web = found.find("mcp__web__list")
    assert web is not None and web.key == "web/list"


def test_a_name_that_can_mean_two_tools_or_none_is_not_guessed() -> None:
    found = offered(("web", "list"), ("db", "list"), ("db", "my-own"), reserved={"my_own"})
    assert [found.find(called) for called in ("list", "functions.list", "lists", "", "my_own", "functions.my_own")] == [
        None
    ] * 6


def test_an_unknown_kind_of_api_is_refused() -> None:
    with pytest.raises(OptionError, match="unknown kind of model API 'x': use one of openai, "):
        offers({}, "x")


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_hostile_description_is_made_harmless(flavour: str) -> None:
    text = "Reads\x00 a \ud800file.\u202e\U000e0041 Ends. " + "word " * 100_000
    schema = {"type": "object", "properties": {"a": {"type": "string", "description": text}}}
    offer = offers({"k": ToolSpec("t", text, schema)}, flavour)[0]
    assert offer.description.startswith("Reads a file. Ends. word")
    assert len(offer.description) <= 8_000
    assert len(str(offer.parameters)) < 8_000
    (offer.description + str(offer.parameters)).encode()


def test_what_is_too_long_for_the_description_of_a_function_stands_with_its_parameters() -> None:
    text = " ".join(f"word{number}" for number in range(300))
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    offer = offers({"k": ToolSpec("t", text, schema)}, "openai")[0]
    assert len(offer.description) <= 1_024
    assert f"{offer.description[:-1]} {offer.parameters['description']}" == text
    assert offer.strict
    assert offers({"k": ToolSpec("t", text, schema)}, "anthropic")[0].description == text
