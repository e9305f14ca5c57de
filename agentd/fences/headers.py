"""What an opening asks for: `NAME:ACTION` and its options, accepted, refused with a reason, or no action at all."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

LANGUAGES = {"bash": "bash", "sh": "bash", "python": "python", "py": "python"}
# Only so many words of an opening line are looked at in search of an action.
MOST_WORDS = 4
ALLOWED = (
    "a block that runs starts with bash:execute, sh:execute, python:execute or py:execute, "
    "one that writes a file with PATH:create; all in lower case"
)
_OURS = frozenset(("execute", "create"))
# What models write when they mean one of ours. Anything else after a colon is taken for a title, as in `rust:main.rs`.
_VERBS = frozenset(
    {"append", "delete", "edit", "eval", "exec", "executed", "executes"}
    | {"overwrite", "read", "run", "running", "save", "update", "write"}
)
_WORD = re.compile(r"[A-Za-z]+")
_MANGLED = re.compile(r":(?:execute|create)(?=[:,;{(\[=])", re.IGNORECASE)
_OPTION = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)=(.*)", re.DOTALL)
_SECONDS = re.compile(r"[0-9]{1,5}(?:\.[0-9]{1,6})?")
_MOST_SECONDS = 86_400
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|[A-Za-z]:[\\/]|file:|data:", re.IGNORECASE)
_ABSOLUTE = re.compile(r"[/\\]|~[^/]*/|~\Z")


@dataclass(frozen=True, slots=True)
class Header:
    """A recognised action. With a `reason` it is refused and `kind` is `""`."""

    word: str
    kind: str = ""
    path: str = ""
    reason: str = ""
    options: dict[str, str] = field(default_factory=dict[str, str])


def read_info(info: str) -> Header | None:
    """Read a fence's info string; `None` when it is no action: such a fence is ordinary text.

    The first word decides. It is an action when what stands after its last colon is

    - `execute` or `create`, in any case: then NAME and case have to be right, or it is refused with what is allowed;
    - another word for those (`run`, `exec`, `write`, `save` …), or any one word after the name of a language that can
      run (`python:foo`): refused.

    Everything else with a colon in it is text, because people title their snippets: `rust:main.rs`, `diff:foo.py`,
    `js:line-numbers`, `c++:title`, `http://x`. As second to fourth word `NAME:execute` or `PATH:create` is refused
    too: it shows that an action was meant (`my notes.txt:create`).
    """
    words = info.split()
    if not words:
        return None
    header = read_word(words[0])
    if header is None:
        return _misplaced(words[:MOST_WORDS])
    if header.reason:
        return header
    options, problem = _options(words[1:])
    return Header(header.word, reason=f"{header.word}: {problem}") if problem else with_options(header, options)


def read_word(word: str) -> Header | None:
    """Read `NAME:ACTION`; `None` when it is no action."""
    if not _is_action(word):
        return None
    name, _, action = word.rpartition(":")
    if action == "execute":
        kind = LANGUAGES.get(name, "")
        return Header(word, kind) if kind else Header(word, reason=f"{word} cannot be executed: {ALLOWED}")
    if action == "create":
        problem = _path_problem(name)
        return Header(word, reason=problem) if problem else Header(word, "create", name)
    return Header(word, reason=f"{word} is not known: {ALLOWED}")


def with_options(header: Header, options: dict[str, str]) -> Header:
    """Return the header with its options, or refused when they are not right."""
    problem = _options_problem(header.kind, options)
    if problem:
        return Header(header.word, reason=f"{header.word}: {problem}")
    return Header(header.word, header.kind, header.path, options=options)


def _is_action(word: str) -> bool:
    name, colon, action = word.rpartition(":")
    if not colon:
        return False
    verb = action.lower()
    if verb in _OURS or verb in _VERBS or _MANGLED.search(word):
        return True
    return name.lower() in LANGUAGES and _WORD.fullmatch(action) is not None


def _misplaced(words: list[str]) -> Header | None:
    word = next((word for word in words[1:] if word.endswith((":execute", ":create")) and "=" not in word), None)
    if word is None and words[0].endswith(":") and len(words) > 1 and words[1] in _OURS:
        word = f"{words[0]} {words[1]}"
    if word is None:
        return None
    reason = f"{word} has to be the first word of the opening line, without blanks: {ALLOWED}"
    return Header(word, reason=reason)


def _path_problem(path: str) -> str:
    """Say what keeps the path from being a relative one inside the workspace, `""` if nothing does."""
    parts = re.split(r"[/\\]", path)
    problems = (
        (not path, "the path is empty"),
        (_SCHEME.match(path), "the path must be a plain file name, not an address"),
        (_ABSOLUTE.match(path), "the path must be relative to the workspace"),
        (".." in parts, "the path must not contain .."),
        (parts[-1] in ("", "."), "the path must name a file"),
        (any(unicodedata.category(char) in ("Cc", "Cs") for char in path), "the path has characters no file may have"),
    )
    return next((f"{path!r} was not created: {problem}" for wrong, problem in problems if wrong), "")


def _options(words: list[str]) -> tuple[dict[str, str], str]:
    """Read `key=value` words, the value quoted or not; return also what is wrong with them."""
    options: dict[str, str] = {}
    for word in words:
        match = _OPTION.fullmatch(word)
        if match is None:
            return options, f"{word!r} is not a key=value option"
        key, value = match.groups()
        if key in options:
            return options, f"the option {key} is given twice"
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        options[key] = value
    return options, ""


def _options_problem(kind: str, options: dict[str, str]) -> str:
    allowed = {"bash": ("timeout",), "python": ("timeout", "state")}.get(kind, ())
    for key, value in options.items():
        if key not in allowed:
            return f"the option {key} is not known here (possible: {', '.join(allowed) or 'none'})"
        if key == "timeout" and not (_SECONDS.fullmatch(value) and 0 < float(value) <= _MOST_SECONDS):
            return f"timeout={value} is not a number of seconds between 0 and {_MOST_SECONDS}"
        if key == "state" and value != "session":
            return f"state={value} is not known: state=session keeps one namespace for the session"
    return ""
