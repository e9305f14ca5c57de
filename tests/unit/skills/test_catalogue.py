"""Every tool of a session has one name, which never changes its meaning."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentd.core.tools import ToolSpec
from agentd.skills import Catalogue, Shape
from tests.fakes.catalogues import Code, recorded, spec


def named(catalogue: Catalogue) -> dict[tuple[str, str], str]:
    return {(entry.spec.server, entry.spec.name): entry.name for entry in catalogue.entries}


def test_the_recorded_tools_keep_their_own_names() -> None:
    catalogue = Catalogue.of(recorded())
    assert [entry.name for entry in catalogue.entries] == [tool.name for tool in recorded()]
    assert [entry.key for entry in catalogue.entries] == [tool.name for tool in recorded()]
    assert list(catalogue.by_skill()) == ["github", "filesystem", "memory", "git", "time", "fetch"]


def test_a_clash_of_two_servers_gives_both_their_servers_name() -> None:
    catalogue = Catalogue.of([spec("read", "mcp-server-a"), spec("read", "b-c"), spec("write", "b-c")])
    assert [(entry.name, entry.key) for entry in catalogue.entries] == [
        ("a__read", "a__read"),
        ("b_c__read", "b_c__read"),
        ("write", "write"),
    ]
    code = Code(catalogue)
    code.a__read()
    code.b_c__read()
    assert [call[0] for call in code.calls] == ["a__read", "b_c__read"]


def test_a_later_clash_leaves_the_earlier_name_alone() -> None:
    first = Catalogue.of([spec("read", "a")])
    later = first.updated([spec("read", "b"), spec("read", "a")])
    assert named(later) == {("a", "read"): "read", ("b", "read"): "b__read"}
    code = Code(later)
    assert code.public == ["b__read", "read", "a__read"]
    code.read()
    code.a__read()
    code.b__read()
    assert [call[0] for call in code.calls] == ["read", "read", "b__read"]


def test_the_name_of_a_tool_that_went_away_is_not_given_to_another() -> None:
    first = Catalogue.of([spec("read", "a")])
    gone = first.updated([])
    assert gone.entries == ()
    other = gone.updated([spec("read", "b")])
    assert named(other) == {("b", "read"): "b__read"}
    back = other.updated([spec("read", "a"), spec("read", "b")])
    assert named(back) == {("a", "read"): "read", ("b", "read"): "b__read"}


def test_names_of_one_server_that_fall_together() -> None:
    catalogue = Catalogue.of([spec("get-x"), spec("get_x"), spec("get.x"), spec("get x")])
    assert [(entry.name, entry.key) for entry in catalogue.entries] == [
        ("get_x", "get-x"), ("get_x_2", "get_x"), ("get_x_3", "get.x"), ("get_x_4", "get_x_4"),
    ]  # fmt: skip


def test_a_tool_that_is_listed_twice_counts_once() -> None:
    assert len(Catalogue.of([spec("f"), spec("f")]).entries) == 1


def test_folders_of_servers_stay_apart() -> None:
    servers = ["", "local", "lib", "mcp-server-git", "git", "bin"]
    catalogue = Catalogue.of([spec(f"t{place}", server) for place, server in enumerate(servers)])
    assert list(catalogue.by_skill()) == ["local", "local-2", "lib-2", "git", "git-2", "bin-2"]


def test_find() -> None:
    catalogue = Catalogue.of([spec("get-x", "a"), spec("read", "a"), spec("read", "b")])
    found = {
        name: entry and entry.key
        for name in ("get-x", "get_x", "a__read", "read", "no")
        if [entry := catalogue.find(name)]
    }
    assert found == {"get-x": "get-x", "get_x": "get-x", "a__read": "a__read", "read": None, "no": None}


def test_a_changed_schema_keeps_the_places_that_were_shown() -> None:
    first = Catalogue.of([spec("f", required=("a", "b"), a={"type": "string"}, b={"type": "string"})])
    turned = first.updated([spec("f", required=("a", "b"), b={"type": "string"}, a={"type": "integer"})])
    code = Code(turned)
    code.f("x", "y")
    assert code.calls == [("f", {"a": "x", "b": "y"})]
    other = first.updated([spec("f", required=("c", "a"), c={"type": "string"}, a={"type": "integer"})])
    code = Code(other)
    code.f("x", "y")
    assert code.calls == [("f", {"c": "x", "a": "y"})]


def test_a_learned_shape_is_shown_by_help() -> None:
    catalogue = Catalogue.of([spec("f"), spec("g")]).learned("f", Shape("array", (Shape("int"),)))
    code = Code(catalogue)
    assert (code.f.__doc__ or "").endswith("Returns [int]")
    assert "Returns" not in (code.g.__doc__ or "")


NAMES = st.one_of(st.sampled_from(["read", "re-ad", "a__read", "list", "", "read_2"]), st.text(max_size=4))
SPECS = st.builds(ToolSpec, NAMES, server=st.sampled_from(["", "a", "A", "a-2", "mcp-a", "local", "日本"]))


@given(st.lists(st.lists(SPECS, max_size=8), min_size=1, max_size=4))
def test_names_and_keys_are_unique_and_stay(batches: list[list[ToolSpec]]) -> None:
    catalogue = Catalogue()
    meaning: dict[str, tuple[str, str]] = {}
    for batch in batches:
        catalogue = catalogue.updated(batch)
        entries = (*catalogue.entries, *catalogue.past)
        assert {(e.spec.server, e.spec.name) for e in catalogue.entries} == {(s.server, s.name) for s in batch}
        assert len({entry.key for entry in entries}) == len(entries)
        names = [name for entry in entries for name in (entry.name, *entry.aliases)]
        assert len(set(names)) == len(names)
        for entry in entries:
            for name in (entry.name, *entry.aliases):
                assert meaning.setdefault(name, (entry.spec.server, entry.spec.name)) == (
                    entry.spec.server,
                    entry.spec.name,
                )
        assert set(Code(catalogue).public) == {n for e in catalogue.entries for n in (e.name, *e.aliases)}
