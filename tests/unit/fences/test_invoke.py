"""The XML form of an action."""

from __future__ import annotations

import pytest

from agentd.fences import Block, Code, Cut, Piece, Refused, Scanner, Text, scan
from tests.unit.fences.markdown import joined, scan_chunks

OPEN = '<invoke name="bash:execute"><parameter name="command">'
CLOSE = "</parameter></invoke>"
RUN = f"{OPEN}ls{CLOSE}"
FENCE = "```bash:execute\nls\n```\n"


def both_ways(text: str) -> list[Piece]:
    """Scan the text at once, having made sure that single characters give the same."""
    pieces = joined(scan(text))
    assert scan_chunks(list(text)) == pieces
    return pieces


def actions(text: str) -> list[Block | Refused]:
    return [piece for piece in both_ways(text) if isinstance(piece, Block | Refused)]


@pytest.mark.parametrize(
    ("value", "body"),
    [
        ("ls", "ls"),
        ("", ""),
        ("\nls\n", "ls\n"),
        ("\r\na\r\nb\r\n", "a\nb\n"),
        ("\n\n  ls", "\n  ls"),
        ("a &lt; b &gt; c &amp;&amp; &quot;d&quot; &apos;e&apos;", "a < b > c && \"d\" 'e'"),
        ("&amp;lt;", "&lt;"),
        ("a && b < c; cat <<EOF &nbsp; &#60; &", "a && b < c; cat <<EOF &nbsp; &#60; &"),
        ("cat <<E\n```bash:execute\nrm x\n```\nE\n", "cat <<E\n```bash:execute\nrm x\n```\nE\n"),
        ("<![CDATA[a &lt; </parameter> ]] b]]>", "a &lt; </parameter> ]] b"),
        ("\n  <![CDATA[\nx\n]]>\n", "\nx\n"),
        ("&lt;/parameter>", "</parameter>"),
        ("<parameter name='x'>", "<parameter name='x'>"),
        ("\0\ud800\u2028", "\0\ud800\u2028"),
    ],
)
def test_the_value_is_the_body(value: str, body: str) -> None:
    text = OPEN + value + CLOSE
    assert actions(text) == [Block("bash", "", body, {}, "bash:execute", 0, len(text))]


@pytest.mark.parametrize(
    ("text", "kind", "path", "options"),
    [
        (RUN, "bash", "", {}),
        ("<invoke name='py:execute'><parameter name='code'>ls</parameter></invoke>", "python", "", {}),
        (
            '<invoke\n name = "a.txt:create" >\n<parameter name="content">ls</parameter>\n</invoke>',
            "create",
            "a.txt",
            {},
        ),
        (RUN.replace("</invoke>", '<parameter name="timeout"> 5\n</parameter></invoke>'), "bash", "", {"timeout": "5"}),
        (RUN.replace("><p", '><parameter name="timeout">5</parameter><p', 1), "bash", "", {"timeout": "5"}),
        (f"  {RUN}", "bash", "", {}),
    ],
)
def test_forms_that_run(text: str, kind: str, path: str, options: dict[str, str]) -> None:
    (block,) = actions(text)
    assert isinstance(block, Block)
    assert (block.kind, block.path, block.options, block.body, block.end) == (kind, path, options, "ls", len(text))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<invoke>ls</invoke>", "malformed"),
        ("<invoke name=bash:execute>ls</invoke>", "malformed"),
        ('<invoke name="bash:execute"/>', "malformed"),
        ('<invoke name="bash:execute" id="1">ls</invoke>', "malformed"),
        ('<invoke name="bash">ls</invoke>', "not known"),
        (RUN.replace("bash", "ruby"), "cannot be executed"),
        (RUN.replace("bash:execute", "BASH:EXECUTE"), "all in lower case"),
        (RUN.replace("bash:execute", "/etc/x:create"), "relative to the workspace"),
        ('<invoke name="bash:execute">ls</invoke>', "only parameters"),
        ('<invoke name="bash:execute"></invoke>', "no parameter named"),
        ('<invoke name="bash:execute"><parameter name="timeout">5</parameter></invoke>', "no parameter named"),
        (RUN.replace("</invoke>", RUN[28:]), "two bodies"),
        (f"{OPEN}ls</invoke>", "not closed"),
        (f"{OPEN}<![CDATA[ls]]>x{CLOSE}", "after a CDATA"),
        (RUN.replace("</invoke>", '<parameter name="timeout">no</parameter></invoke>'), "not a number"),
        (RUN.replace("</invoke>", '<parameter name="cwd">/</parameter></invoke>'), "cwd is not known"),
        (RUN.replace("</invoke>", '<parameter name="timeout">5</parameter>' * 2 + "</invoke>"), "twice"),
        ("- " + RUN, "inside a list item"),
    ],
)
def test_forms_that_are_refused(text: str, reason: str) -> None:
    (refused,) = actions(text)
    assert isinstance(refused, Refused)
    assert reason in refused.reason
    assert refused.end == len(text)


@pytest.mark.parametrize("length", range(1, len(RUN)))
def test_what_is_not_closed_never_runs(length: int) -> None:
    text = RUN[:length]
    if length < len("<invoke "):
        assert both_ways(text) == [Text(text)]
    else:
        (refused,) = actions(text)
        assert isinstance(refused, Refused)
        assert refused.end == length


@pytest.mark.parametrize(
    "text",
    [
        f"```xml\n{RUN}\n```\n",
        f"~~~\n{RUN}\n~~~\n",
        f"    {RUN}\n",
        f"> {RUN}\n",
        f"`{RUN}`\n",
        f"Write {RUN}\n",
        f"<!--\n{RUN}\n-->\n",
        "<invoker name='bash:execute'>\n",
        "</invoke>\n<parameter name='command'>\n</function_calls>\n",
        "<function_calls>\nx\n</function_calls>\n",
        "&lt;invoke name='bash:execute'>\n",
    ],
)
def test_what_is_text(text: str) -> None:
    assert both_ways(text) == [Text(text)]


def test_a_wrapper_is_part_of_the_group() -> None:
    text = f"Do:\n<function_calls>\n{RUN}\n{RUN}\n</function_calls>\n"
    assert [action.start for action in actions(text)] == [4, text.rindex("<invoke")]
    assert [piece for piece in both_ways(text) if isinstance(piece, Text | Cut)] == [Text("Do:\n")]
    assert both_ways(text + "Done")[-1] == Cut(len(text) - 1)


@pytest.mark.parametrize("text", [f"{RUN}{RUN}", f"{RUN} \n\n{FENCE}", f"{FENCE}{RUN}", f"{FENCE}\n{RUN}\n{FENCE}"])
def test_forms_mix_in_their_order(text: str) -> None:
    found = actions(text)
    assert [type(action) for action in found] == [Block] * (text.count("ls"))
    assert [action.start for action in found] == sorted(action.start for action in found)
    assert found[-1].end == len(text)


def test_what_follows_is_cut() -> None:
    assert both_ways(f"{RUN} done\n{FENCE}")[-1] == Cut(len(RUN))


@pytest.mark.parametrize("length", [15, 16, 17, 1023, 1024, 1025, 4060, *range(4090, 4100)])
@pytest.mark.parametrize("start", ["<invoke", "<function_calls>", OPEN, f"{OPEN}x</parameter>"])
def test_limits_do_not_depend_on_chunks(start: str, length: int) -> None:
    for end in (RUN, "<![CDATA[x]]></parameter></invoke>", ">", " name='bash:execute'>", "x"):
        text = start + " " * length + end
        chunks = [
            text[:3],
            *text[3 : len(start) + 10],
            *(text[len(start) + 10 :][at:][:509] for at in range(0, 5000, 509)),
        ]
        assert "".join(chunks) == text
        assert scan_chunks(chunks) == joined(scan(text))


def test_code_goes_through_at_once() -> None:
    scanner = Scanner()
    scanner.feed(OPEN)
    scanner.feed("\n")
    for char in "echo 'x' > y; ls\nls":
        assert scanner.feed(char) == [Code(char)]
