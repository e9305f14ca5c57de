"""Bash blocks: a fresh shell each, which leaves behind its working directory and exported variables.

The script comes in a nameless file, so neither its size nor its quotes matter. The shell's exit trap writes the state
behind it; a trap of the block's own runs after that. Nothing of this passes through the output.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from .signals import signal

CHANNEL = 198
END = b"\n# end\n"

_SAVE = '{ builtin pwd && builtin export -p && builtin echo "# end"; } >&198 2>/dev/null'
# All on one line, so that the lines of the block have their own numbers in messages.
_START = f"trap '{_SAVE}' EXIT; IFS= read -r -d '' -u 198 __agentd_code; "
_RUN = 'eval "$__agentd_code"'

# A script that may set a trap gets a function `trap`, which keeps its EXIT trap from replacing ours: it is run after
# ours. `&& :` keeps `$?` for it and holds `set -e`.
_MAY_TRAP = ("trap", "source", *(f".{blank}" for blank in " \t\n\r\v\f"))
_TRAPPING = r"""
__agentd_save() {
    local __agentd_status=$? -; set +xv
    { builtin pwd && builtin export -p && builtin echo '# end'; } >&198
    return $__agentd_status
}
trap() {
    { local __agentd_word __agentd_exit= -; set +xv; } 2>/dev/null
    if ((BASH_SUBSHELL == 0)) && [[ ${1-} != -[lp]* ]]; then
        for __agentd_word; do
            case $__agentd_word in (0|[eE][xX][iI][tT]|SIGEXIT) __agentd_exit=1 ;; esac
        done
    fi
    [[ ${1-} == -- ]] && shift
    builtin trap "$@" || return
    if [[ $__agentd_exit ]]; then
        if [[ $# -eq 1 || $1 == - ]]; then set -- ''; fi
        builtin trap -- "{ __agentd_save && :; } 2>/dev/null"$'\n'"$1" EXIT
    fi
}
"""

_DEFAULTED = [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD]
_PRIVATE = frozenset({"_", "SHLVL", "OLDPWD", "PWD", "BASH_ENV"})


def spawn(bash: str, code: str, env: Mapping[str, str], output: int, limits: str) -> tuple[int, int, int]:
    """Start a shell in the current directory; return its process id, the file for its state, and where that begins."""
    script = code.encode("utf-8", "surrogateescape")
    channel = os.memfd_create("agentd")
    actions = [
        (os.POSIX_SPAWN_DUP2, output, 1),
        (os.POSIX_SPAWN_DUP2, output, 2),
        (os.POSIX_SPAWN_DUP2, channel, CHANNEL),
    ]
    script_line = _START + limits + _RUN
    argv = [bash, "--norc", "--noprofile", "-c", script_line, "bash"]
    if any(sign in code for sign in _MAY_TRAP):
        argv[-2:] = ['eval "$1"; shift; builtin ' + script_line, "bash", _TRAPPING]
    try:
        _write(channel, script)
        pid = os.posix_spawn(bash, argv, env, file_actions=actions, setsid=True, setsigdef=_DEFAULTED)
    except (OSError, ValueError):
        os.close(channel)
        raise
    return pid, channel, len(script)


def limits(cpu: int) -> str:
    """Return the commands that put the limits of one process on a block."""
    return f"ulimit -t {cpu}; " if cpu else ""


def _write(fd: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(fd, left) :]
    os.lseek(fd, 0, os.SEEK_SET)


def read_state(fd: int, start: int) -> bytes:
    """Return what the shell has saved; nothing when it did not get to that."""
    size = os.fstat(fd).st_size - start
    text = os.pread(fd, size, start) if size > 0 else b""
    return text[: -len(END) + 1] if text.endswith(END) else b""


def parse_state(saved: bytes) -> tuple[str, dict[str, str]]:
    """Return the working directory and the exported variables of a saved state."""
    cwd, _, exports = saved.decode("utf-8", "surrogateescape").partition("\ndeclare -")
    env = parse_exports("declare -" + exports) if exports else {}
    return cwd.removesuffix("\n"), {name: value for name, value in env.items() if name not in _PRIVATE}


def parse_exports(text: str) -> dict[str, str]:
    """Read what `export -p` prints. Arrays and variables without a value are left out, as in an environment."""
    env: dict[str, str] = {}
    at = 0
    while at < len(text):
        end = _name_end(text, at)
        words = text[at:end].split(" ")
        value = None
        if end < len(text) and text[end] == "=":
            value, end = _value(text, end + 1)
        if value is not None and len(words) == 3 and not set("aA") & set(words[1]):
            env[words[2]] = value
        at = end + 1
    return env


def _name_end(text: str, at: int) -> int:
    ends = [end for end in (text.find("=", at), text.find("\n", at)) if end >= 0]
    return min(ends, default=len(text))


def _value(text: str, at: int) -> tuple[str, int]:
    """Read one word of shell syntax up to the end of its line; return it and where it ends."""
    parts: list[str] = []
    while at < len(text) and text[at] != "\n":
        if text.startswith("$'", at):
            part, at = _ansi(text, at + 2)
        elif text[at] == '"':
            part, at = _quoted(text, at + 1)
        else:
            part, at = text[at], at + 1
        parts.append(part)
    return "".join(parts), at


def _quoted(text: str, at: int) -> tuple[str, int]:
    parts: list[str] = []
    while at < len(text) and text[at] != '"':
        if text[at] == "\\" and text[at + 1 : at + 2] in ('"', "\\", "$", "`", "\n"):
            at += 1
        parts.append(text[at])
        at += 1
    return "".join(parts), at + 1


_SIMPLE = {"a": 7, "b": 8, "e": 27, "E": 27, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}


def _ansi(text: str, at: int) -> tuple[str, int]:
    """Read the inside of `$'…'`; octal escapes are bytes, not characters."""
    parts = bytearray()
    while at < len(text) and text[at] != "'":
        if text[at] != "\\":
            parts += text[at].encode("utf-8", "surrogateescape")
            at += 1
            continue
        digits = text[at + 1 : at + 4]
        if len(digits) == 3 and set(digits) <= set("01234567"):
            parts.append(int(digits, 8) & 0xFF)
            at += 4
            continue
        letter = text[at + 1 : at + 2]
        parts += bytes([_SIMPLE[letter]]) if letter in _SIMPLE else letter.encode("utf-8", "surrogateescape")
        at += 2
    return parts.decode("utf-8", "surrogateescape"), at + 1
