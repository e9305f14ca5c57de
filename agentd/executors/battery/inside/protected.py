"""Probes: what is read-only inside of the workspace, and the usual ways around that."""

from __future__ import annotations

import os
import time

from agentd.executors.battery.inside.harness import Facts, Refused, probe


def _append(path: str) -> str:
    with open(path, "ab") as file:
        file.write(b"changed\n")
    return "written"


def _hook(folder: str, name: str) -> str:
    os.makedirs(os.path.join(folder, ".git", "hooks"), exist_ok=True)
    path = os.path.join(folder, ".git", "hooks", name)
    with open(path, "w") as file:
        file.write("#!/bin/sh\n")
    os.chmod(path, 0o700)
    return "written"


@probe("protect-hooks", "write into `.git/hooks`")
def protect_hooks(facts: Facts) -> str:
    return _append(facts.target("protect-hooks"))


@probe("protect-config", "change `.git/config`")
def protect_config(facts: Facts) -> str:
    return _append(facts.target("protect-config"))


@probe("protect-bashrc", "change `.bashrc` in the workspace")
def protect_bashrc(facts: Facts) -> str:
    return _append(facts.target("protect-bashrc"))


@probe("protect-env", "change `.env` in the workspace, which the policy protects")
def protect_env(facts: Facts) -> str:
    return _append(facts.target("protect-env"))


@probe("protect-new", "make a protected file that was not there (`.zshrc`)")
def protect_new(facts: Facts) -> str:
    return _append(facts.target("protect-new"))


@probe("protect-new-symlink", "make a protected file that was not there, as a symbolic link")
def protect_new_symlink(facts: Facts) -> str:
    os.symlink("elsewhere", facts.target("protect-new-symlink"))
    return "made"


@probe("protect-nested", "write hooks into a repository made inside")
def protect_nested(facts: Facts) -> str:
    path = facts.target("protect-nested")
    return _hook(path.removesuffix("/.git/hooks/post-checkout"), "post-checkout")


@probe("protect-renamed", "make a repository inside under another name, and rename it")
def protect_renamed(facts: Facts) -> str:
    root = facts.target("protect-renamed").removesuffix("/.git/hooks/post-checkout")
    os.makedirs(os.path.join(root, "plain", "hooks"))
    with open(os.path.join(root, "plain", "hooks", "post-checkout"), "w") as file:
        file.write("#!/bin/sh\n")
    os.rename(os.path.join(root, "plain"), os.path.join(root, ".git"))
    return "renamed"


@probe("protect-late", "write hooks from a process left running, before the next block")
def protect_late(facts: Facts) -> str:
    root = facts.target("protect-late").removesuffix("/.git/hooks/post-checkout")
    if os.fork():
        raise Refused("left running; the host looks later")
    os.setsid()
    if os.fork():
        os._exit(0)
    for fd in range(3):
        os.dup2(os.open(os.devnull, os.O_RDWR), fd)
    os.closerange(3, 256)
    deadline = time.monotonic() + 10
    while not os.path.exists(facts.text("late")) and time.monotonic() < deadline:
        time.sleep(0.01)
    _hook(root, "post-checkout")
    os._exit(0)


@probe("protect-swap", "move `.git` away and put another in its place")
def protect_swap(facts: Facts) -> str:
    git = os.path.join(facts.text("workspace"), ".git")
    os.rename(git, git + "-away")
    os.rename(git + "-away", git)
    return "moved, and back"


@probe("protect-unlink", "move a protected file away, to write it anew")
def protect_unlink(facts: Facts) -> str:
    path = os.path.join(facts.text("workspace"), ".bash_profile")
    os.rename(path, path + "-away")
    os.rename(path + "-away", path)
    return "moved, and back"


@probe("protect-replace", "put another file in the place of a protected one")
def protect_replace(facts: Facts) -> str:
    path = facts.target("protect-replace")
    with open("battery-replacement", "w") as file:
        file.write("changed\n")
    try:
        os.replace("battery-replacement", path)
    except OSError:
        os.unlink("battery-replacement")
        raise
    return "replaced"


@probe("protect-hardlink", "change a protected file by a hard link to it")
def protect_hardlink(facts: Facts) -> str:
    path = facts.target("protect-hardlink")
    os.link(path, "battery-protected")
    try:
        return _append("battery-protected")
    finally:
        os.unlink("battery-protected")


@probe("protect-symlinked", "make a protected folder a symbolic link to another")
def protect_symlinked(facts: Facts) -> str:
    path = facts.target("protect-symlinked")
    os.rmdir(path)
    os.symlink("/tmp", path)
    return "a link stands there"


@probe("protect-chmod", "make a protected file one that can be run")
def protect_chmod(facts: Facts) -> str:
    os.chmod(facts.target("protect-chmod"), 0o700)
    return "changed"


@probe("protect-state", "lead agentd's own folder in the workspace (`.agentd`) elsewhere")
def protect_state(facts: Facts) -> str:
    # What the host puts there must not follow a link: it looks whether anything has come to where this one leads.
    folder = os.path.join(facts.text("workspace"), ".agentd")
    if os.path.lexists(folder):
        os.rename(folder, folder + "-away")
    os.symlink(os.path.dirname(facts.target("protect-state")), folder)
    raise Refused("planted; it is the host that writes")


@probe("protect-state-hook", "write hooks into a repository made inside, with `.agentd` led elsewhere")
def protect_state_hook(facts: Facts) -> str:
    path = facts.target("protect-state-hook")
    return _hook(path.removesuffix("/.git/hooks/post-checkout"), "post-checkout")
