"""An action is one thing that the model asked to be done; values that cross from the loop to the executors."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from agentd.core.tools import JSON, Media


class Kind(StrEnum):
    """What an action does with its code."""

    BASH = "bash"
    PYTHON = "python"
    CREATE = "create"


@dataclass(frozen=True, slots=True)
class Action:
    """One block to be run: a script, or with `Kind.CREATE` the content of the file `path`.

    `timeout` is in seconds, `None` for the executor's default. `keep_state` runs a Python block in the session's one
    lasting namespace instead of a fresh interpreter. `env` is added to the built environment of this block only.
    `cwd` is the folder to run in, by default the session's working directory.
    """

    id: str
    kind: Kind
    code: str
    path: str = ""
    timeout: float | None = None
    keep_state: bool = False
    env: dict[str, str] = field(default_factory=dict[str, str])
    cwd: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """One JSON call of a tool: `tool` is its key, `arguments` are as its schema wants them.

    With a `problem` nothing is called: that is what the model is told.
    """

    id: str
    tool: str
    arguments: dict[str, JSON]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call gave: `text` is what the model is told, within the budget, `media` what it may also see or hear."""

    id: str
    ok: bool
    text: str
    media: tuple[Media, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Markup that asked for something that will not be run; `reason` is what the model is told."""

    id: str
    header: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class ActionResult:
    """How an action ended.

    `exit_code` is the process's own (128 + signal number when a signal killed it); `reason` is `""`, `timeout`,
    `cancelled`, `refused` or `lost`. `output` is standard output and error as they came, head and tail of it when
    it was over the budget: then `total_bytes` is its whole size and `spill` the workspace-relative file that holds it.
    """

    exit_code: int
    output: str
    duration: float
    reason: str = ""
    total_bytes: int = 0
    spill: str = ""


@dataclass(frozen=True, slots=True)
class Bindings:
    """The tools that a block finds in scope.

    `source` is Python that defines one function a tool through a given `_call(tool, arguments)`; it becomes the
    module `lib.tools` and its public names are in scope without an import. `digest` changes with `source`.
    `bin_dirs` go to the front of `PATH`, `python_dirs` to the front of `sys.path`.
    """

    source: str = ""
    digest: str = ""
    bin_dirs: tuple[str, ...] = ()
    python_dirs: tuple[str, ...] = ()
