"""A policy is read whole or refused with a reason for each clause, and nothing of it is dropped silently."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from pydantic import ValidationError

from agentd.core.errors import ExecutorUnavailable, OptionError
from agentd.executors.limits import Limits
from agentd.executors.policy import LIMITS, SECRETS, TRAPS, Policy, read_policy, resolve, settle

WRONG: list[tuple[dict[str, object], str]] = [
    ({"writeable": ["x"]}, "policy.writeable: there is no such clause, did you mean writable?"),
    ({"allowed_domain": []}, "policy.allowed_domain: there is no such clause, did you mean allowed_domains?"),
    ({"allow_write": ["x"]}, "policy.allow_write: there is no such clause, did you mean writable?"),
    ({"deny_read": ["x"]}, "policy.deny_read: there is no such clause, did you mean hidden?"),
    ({"colour": "red"}, "policy.colour: there is no such clause"),
    ({"memory": "much"}, "policy.memory: could not parse value and unit"),
    ({"memory": 0}, "policy.memory: Input should be greater than 0"),
    ({"memory": -1}, "policy.memory: could not parse value and unit"),
    ({"memory": True}, "policy.memory: a number is wanted"),
    ({"file_size": "1 XB"}, "policy.file_size: could not interpret byte unit: XB"),
    ({"cpu": "3"}, "policy.cpu: Input should be a valid integer"),
    ({"cpu": True}, "policy.cpu: Input should be a valid integer"),
    ({"processes": 0}, "policy.processes: Input should be greater than 0"),
    ({"wall_time": True}, "policy.wall_time: Input should be a valid number"),
    ({"wall_time": float("inf")}, "policy.wall_time: Input should be a finite number"),
    ({"allowed_domains": "github.com"}, "policy.allowed_domains: a list is wanted"),
    ({"allowed_domains": None}, "policy.allowed_domains: a list is wanted"),
    (
        {"allowed_domains": ["ok.test", "https://a.test"]},
        "policy.allowed_domains.1: 'https://a.test': give the name only",
    ),
    ({"denied_domains": ["10.0.0.1"]}, "policy.denied_domains.0: '10.0.0.1' is an address"),
    ({"allowed_domains": ["GitHub.com."], "denied_domains": ["github.com"]}, "github.com: allowed and denied"),
    ({"private_networks": ["10.0.0.1/8"]}, "policy.private_networks.0: 10.0.0.1/8 has host bits set"),
    ({"private_networks": ["corp"]}, "policy.private_networks.0: 'corp' does not appear to be"),
    ({"readable": ["/etc/*"]}, "policy.readable.0: '/etc/*' is a pattern"),
    ({"readable": ["**/x"]}, "policy.readable.0: '**/x': '**/' is known for `protected` only"),
    ({"writable": ["../x"]}, "policy.writable.0: '../x' has '..' in it"),
    ({"writable": ["a\0b"]}, r"policy.writable.0: 'a\x00b' is not a path"),
    ({"writable": [""]}, "policy.writable.0: '' is not a path"),
    ({"hidden": ["~root/x"]}, "policy.hidden.0: '~root/x': of the homes only one's own is known"),
    ({"protected": ["**/"]}, "policy.protected.0: '**/' is not a path"),
    ({"local_binding": "maybe"}, "policy.local_binding: Input should be a valid boolean"),
]


@pytest.mark.parametrize(("given", "told"), WRONG)
def test_a_wrong_clause_is_named_with_the_reason(given: dict[str, object], told: str) -> None:
    with pytest.raises(OptionError) as caught:
        read_policy(given)
    assert told in str(caught.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(OptionError) as caught:
        read_policy({"cpuu": 1, "memory": 0, "readable": ["a*", "/ok", "b?"]})
    for part in ("policy.cpuu", "did you mean cpu?", "policy.memory", "policy.readable.0", "policy.readable.2"):
        assert part in str(caught.value)
    assert "policy.readable.1" not in str(caught.value)


@pytest.mark.parametrize("given", [["x"], 5, "bwrap", True])
def test_what_is_no_table_is_refused(given: Any) -> None:
    with pytest.raises(OptionError, match="policy: Input should be a valid dictionary"):
        read_policy(given)


def test_a_password_in_a_domain_is_not_repeated() -> None:
    with pytest.raises(OptionError) as caught:
        read_policy({"allowed_domains": ["https://me:hunter2@corp.test"]})
    assert "hunter2" not in str(caught.value)


def test_sizes_are_numbers_or_words() -> None:
    policy = read_policy({"memory": "512 MiB", "file_size": 1000, "cpu": 5, "wall_time": 30, "processes": None})
    assert policy.limits == Limits(processes=None, memory=512 << 20, file_size=1000, cpu=5)
    assert policy.timeout(60) == 30 and policy.timeout(10) == 10
    assert Policy().timeout(60) == 60
    assert set(LIMITS) <= set(Policy.model_fields)


def test_domains_and_networks_are_kept_in_their_canonical_form() -> None:
    policy = read_policy(
        {"allowed_domains": ["GitHub.com.", "*.Python.org:443", "münchen.de"], "private_networks": ["10.0.0.5"]}
    )
    assert policy.allowed_domains == ("github.com", "*.python.org:443", "xn--mnchen-3ya.de")
    assert policy.private_networks == ("10.0.0.5/32",)
    assert read_policy(policy.model_dump()) == policy


def test_what_is_not_given_is_the_usual() -> None:
    policy = read_policy(None)
    assert policy == Policy() and policy.hidden == SECRETS and policy.protected == TRAPS
    assert policy.allowed_domains == () and policy.asked == frozenset()
    assert read_policy(policy) is policy
    assert read_policy(MappingProxyType({"cpu": 5})).cpu == 5
    with pytest.raises(ValidationError):
        policy.memory = 5  # pyright: ignore[reportAttributeAccessIssue]  # that it is refused is what is tested


def test_an_empty_list_of_domains_is_asked_for_and_an_absent_one_is_not() -> None:
    assert read_policy({"allowed_domains": []}).asked == {"allowed_domains"}
    assert read_policy({"allowed_domains": ["*"]}).asked == {"allowed_domains"}
    assert read_policy({}).asked == frozenset()
    assert read_policy({"hidden": [], "memory": None, "best_effort": True}).asked == frozenset()
    assert read_policy({"local_binding": False, "hidden": ["~/.x"]}).asked == {"local_binding", "hidden"}


def test_clauses_that_can_be_kept_are_kept() -> None:
    policy = read_policy({"allowed_domains": [], "memory": "1 GiB"})
    keeps = {"allowed_domains": "proxy", "memory": "cgroup", "hidden": "mounts"}
    assert settle(policy, "bwrap", keeps) == keeps


def test_a_clause_that_cannot_be_kept_is_an_error_that_names_it() -> None:
    policy = read_policy({"allowed_domains": [], "memory": "1 GiB", "hidden": ["~/.ssh"]})
    with pytest.raises(ExecutorUnavailable) as caught:
        settle(policy, "local", {"memory": "cgroup"}, {"hidden": "code runs with your rights"})
    told = str(caught.value)
    assert "local cannot keep all of the policy" in told
    assert "policy.allowed_domains: it has no means for that; policy.hidden: code runs with your rights" in told
    assert "policy.memory" not in told and "best_effort: true" in told


def test_with_best_effort_it_is_told_instead() -> None:
    policy = read_policy({"allowed_domains": [], "memory": "1 GiB", "best_effort": True})
    told = settle(policy, "local", {"memory": "cgroup"}, {"allowed_domains": "no isolation", "cpu": "not asked"})
    assert told == {"memory": "cgroup", "allowed_domains": "not enforced: no isolation"}


def test_what_nobody_asked_for_is_no_error() -> None:
    assert settle(Policy(), "local", {}) == {}


def test_paths_are_resolved_from_the_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert resolve("link/new", tmp_path) == tmp_path / "real/new"
    assert resolve("/etc/../etc/hosts", tmp_path) == Path("/etc/hosts")
    assert resolve("~/.ssh", tmp_path) == tmp_path / "home/.ssh"
