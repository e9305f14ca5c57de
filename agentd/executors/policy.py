"""What code may do: one model of it, which every back end compiles to its own means."""

from __future__ import annotations

import difflib
import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from agentd.core.errors import ExecutorUnavailable, OptionError
from agentd.executors.egress.names import read_rule
from agentd.executors.limits import Limits

ANYWHERE = "**/"
HOOKS = "**/.git/hooks"
GIT_CONFIG = ".git/config"
SECRETS = (
    "~/.ssh",
    "~/.aws",
    "~/.azure",
    "~/.config/gcloud",
    "~/.config/gh",
    "~/.docker",
    "~/.gnupg",
    "~/.kube",
    "~/.netrc",
    "~/.npmrc",
    "~/.pypirc",
    "~/.git-credentials",
)
# What programs on the host run or obey when somebody merely opens, or enters, the folder.
TRAPS = (
    HOOKS,
    GIT_CONFIG,
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".gitconfig",
    ".envrc",
    ".mcp.json",
    ".claude",
    ".cursor",
    ".idea",
    ".vscode",
)
# What other sandboxes, and earlier releases, call the clauses.
_ELSEWHERE = {
    "allow_read": "readable",
    "deny_read": "hidden",
    "allow_write": "writable",
    "deny_write": "protected",
    "allow_local_binding": "local_binding",
    "timeout": "wall_time",
}
LIMITS = ("cpu", "memory", "processes", "file_size", "open_files")


def _path(text: str) -> str:
    if not text.removeprefix(ANYWHERE) or "\0" in text or text != text.strip():
        raise ValueError(f"{text!r} is not a path")
    if text.startswith("~") and not text.startswith("~/"):
        raise ValueError(f"{text!r}: of the homes only one's own is known, as in '~/.ssh'")
    if any(sign in text.removeprefix(ANYWHERE) for sign in "*?["):
        raise ValueError(f"{text!r} is a pattern: name the path; only a leading '**/' (anywhere below) is known")
    if ".." in Path(text).parts:
        raise ValueError(f"{text!r} has '..' in it")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise ValueError(f"{text!r} is not text") from None
    return text


def _plain_path(text: str) -> str:
    if text.startswith(ANYWHERE):
        raise ValueError(f"{text!r}: '**/' is known for `protected` only")
    return _path(text)


def _domain(text: str) -> str:
    return str(read_rule(text))


def _network(text: str) -> str:
    return str(ipaddress.ip_network(text))


def _no_truth(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number is wanted, not true or false")
    return value


PathText = Annotated[str, AfterValidator(_plain_path)]
Pattern = Annotated[str, AfterValidator(_path)]
Domain = Annotated[str, AfterValidator(_domain)]
Network = Annotated[str, AfterValidator(_network)]
Count = Annotated[int, Field(gt=0, strict=True)]
Size = Annotated[ByteSize, BeforeValidator(_no_truth), Field(gt=0)]


class Policy(BaseModel):
    """What code in a sandbox may do. Clauses that are not given ask for no more than the back end can keep.

    Paths are absolute, begin with `~/`, or are relative to the workspace. `readable` are more paths that the code sees,
    read-only, besides the system's programs, the interpreter and the workspace; `hidden` are never seen; `writable` are
    written besides the workspace; `protected` are read-only inside of what is writable (`**/name` anywhere below it;
    `.git/config` only of a repository that is there before the sandbox is). Giving `hidden` or `protected` replaces the
    usual ones (`SECRETS`, `TRAPS`).

    `allowed_domains` are names (`github.com`, `*.python.org` for all below it, `*` for all, `name:443` for one port);
    none of them, nothing is reached. `denied_domains` are refused even so. A name that leads to an address that is not
    public is refused, but for those in `private_networks` (`10.0.0.0/8`). `local_binding` lets code listen on its own
    loopback, which is not the machine's.

    `cpu` is in seconds for a process, `memory` and `file_size` in bytes (or `"512 MiB"`), `processes` and `open_files`
    are numbers, `wall_time` the most seconds that a block may ask for. What a back end cannot keep is an error when it
    starts; with `best_effort` it is told in `enforcement` instead.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    readable: tuple[PathText, ...] = ()
    hidden: tuple[PathText, ...] = SECRETS
    writable: tuple[PathText, ...] = ()
    protected: tuple[Pattern, ...] = TRAPS
    allowed_domains: tuple[Domain, ...] = ()
    denied_domains: tuple[Domain, ...] = ()
    private_networks: tuple[Network, ...] = ()
    local_binding: bool = True
    cpu: Count | None = None
    memory: Size | None = None
    processes: Count | None = 512
    file_size: Size | None = None
    open_files: Count | None = None
    wall_time: Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)] | None = None
    best_effort: bool = False

    @model_validator(mode="after")
    def _one_meaning(self) -> Self:
        both = sorted(set(self.allowed_domains) & set(self.denied_domains))
        if both:
            raise ValueError(f"{', '.join(both)}: allowed and denied")
        return self

    @property
    def limits(self) -> Limits:
        """The clauses that limit how much of the machine is used."""
        return Limits(**{name: getattr(self, name) for name in LIMITS})

    @property
    def asked(self) -> frozenset[str]:
        """The clauses that were written down, and say more than nothing."""
        given = self.model_fields_set - {"best_effort"}
        return frozenset(name for name in given if name == "allowed_domains" or getattr(self, name) not in (None, ()))

    def timeout(self, seconds: float) -> float:
        """Return how long a block may run that asks for so many seconds."""
        return seconds if self.wall_time is None else min(seconds, self.wall_time)


def read_policy(given: Policy | Mapping[str, object] | None) -> Policy:
    """Return a policy from what a caller gave; raises `OptionError`, which names every clause that is wrong."""
    if given is None:
        return Policy()
    if isinstance(given, Policy):
        return given
    try:
        return Policy.model_validate(given)
    except ValidationError as error:
        lines = [_explain(list(item["loc"]), item["msg"], item["type"]) for item in error.errors(include_url=False)]
        raise OptionError("; ".join(lines)) from error


def _explain(where: list[int | str], message: str, kind: str) -> str:
    path = ".".join(["policy", *(str(part) for part in where)])
    if kind == "tuple_type":
        return f"{path}: a list is wanted"
    if kind != "extra_forbidden":
        return f"{path}: {message.removeprefix('Value error, ')}"
    name = str(where[-1])
    near = [_ELSEWHERE[name]] if name in _ELSEWHERE else difflib.get_close_matches(name, Policy.model_fields, 1)
    return f"{path}: there is no such clause" + (f", did you mean {near[0]}?" if near else "")


def settle(policy: Policy, name: str, keeps: Mapping[str, str], why: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return who keeps each clause in the back end `name`; `keeps` says that for those that it can keep.

    Raises `ExecutorUnavailable` for a clause that was asked for and cannot be kept, with the reason out of `why`.
    """
    lacking = {clause: (why or {}).get(clause, "it has no means for that") for clause in policy.asked - set(keeps)}
    if lacking and not policy.best_effort:
        told = "; ".join(f"policy.{clause}: {reason}" for clause, reason in sorted(lacking.items()))
        raise ExecutorUnavailable(
            f"{name} cannot keep all of the policy: {told}. Leave that out, take another executor, or write "
            "best_effort: true to run without it"
        )
    return {**keeps, **{clause: f"not enforced: {reason}" for clause, reason in lacking.items()}}


def resolve(text: str, workspace: Path) -> Path:
    """Return a policy's path as an absolute one, links followed as far as it exists."""
    return Path(os.path.realpath(workspace / Path(text).expanduser()))
