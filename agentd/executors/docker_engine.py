"""A Docker engine on this machine: what is asked of it, and its errors with their remedies."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import socket
import stat
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from agentd.core.errors import AgentdError, ExecutorUnavailable

PACKAGE = "docker"
OLDEST_API = (1, 41)
SECONDS = 15.0
_DEFAULT = "/var/run/docker.sock"
_ROOTLESS = "/run/user/{uid}/docker.sock"
_HERE = (
    "The workspace and the tools' socket are mounted from this machine, so the engine must be here too: "
    "give the Unix socket of one (unix:///var/run/docker.sock)"
)


class EngineTrouble(ExecutorUnavailable):
    """This executor cannot run here."""

    def __init__(self, reason: str, fix: str = "") -> None:
        self.reason = reason
        self.fix = fix
        super().__init__(f"docker: {reason}" + (f". {fix}" if fix else ""))


class Client(Protocol):
    """The calls of `docker.APIClient` that are made here."""

    trust_env: bool

    def version(self, api_version: bool = True) -> dict[str, object]: ...

    def info(self) -> dict[str, object]: ...

    def inspect_image(self, image: str) -> dict[str, object]: ...

    def create_container_from_config(self, config: Mapping[str, object], name: str) -> dict[str, object]: ...

    def attach_socket(self, container: str, params: Mapping[str, int]) -> _Attached: ...

    def start(self, container: str) -> None: ...

    def remove_container(self, container: str, v: bool, force: bool) -> None: ...

    # The parameter's name is the library's.
    def containers(self, all: bool, filters: Mapping[str, object]) -> list[dict[str, object]]: ...  # noqa: A002

    def close(self) -> None: ...


class _Attached(Protocol):
    _response: contextlib.AbstractContextManager[object]

    def fileno(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Facts:
    """What an engine says about itself."""

    version: str
    api: str
    rootless: bool
    remapped: bool
    keeps: frozenset[str]
    labelled: bool

    @property
    def admits_landlock(self) -> bool:
        """Whether the engine's own filter of system calls lets Landlock through, as it does since Docker 23."""
        major = self.version.partition(".")[0]
        return major.isdigit() and int(major) >= 23


@dataclass(frozen=True, slots=True)
class Image:
    """An image as the engine has it; `id` stays the same image when its name moves on."""

    id: str
    env: dict[str, str]
    volumes: tuple[str, ...]


class Engine:
    """A Docker engine behind a Unix socket. Every method blocks; any thread may call them."""

    def __init__(self, base_url: str | None = None, *, seconds: float = SECONDS) -> None:
        """Find the engine: the address given, `DOCKER_HOST`, the usual socket, or the caller's own rootless one."""
        self._docker = _library()
        self.path = _socket_path(base_url or _chosen(self._docker))
        self._seconds = seconds
        self._api = ""

    def __repr__(self) -> str:
        return f"Engine({str(self.path)!r})"

    @contextlib.contextmanager
    def client(self, doing: str) -> Generator[Client]:
        """Open a client; whatever goes wrong is an `EngineTrouble` that says what was being done."""
        self._knock()
        errors = importlib.import_module(f"{PACKAGE}.errors")
        client: Client | None = None
        try:
            client = self._open(self._api or self._negotiate())
            yield client
        except AgentdError:
            raise  # it says what is wrong, and it is not the engine
        except errors.APIError as error:
            raise _trouble(doing, error) from error
        except (errors.DockerException, OSError, ValueError) as error:  # what `requests` raises are of the second
            raise _trouble(doing, error, f"Is {self.path} a Docker engine, and is it well?") from error
        finally:
            if client is not None:
                client.close()

    def facts(self) -> Facts:
        """Return what the engine says about itself; raises when it is not one of this machine."""
        with self.client("asking the engine what it is") as client:
            told = _table(client.info())
        version = str(told.get("ServerVersion", "?"))
        if told.get("OSType", "linux") != "linux":
            raise EngineTrouble(f"the engine at {self.path} has {told['OSType']} containers, not Linux ones")
        kernel, here = str(told.get("KernelVersion", "")), os.uname().release
        if kernel != here:
            where = f"the engine at {self.path} is on another machine, or in a virtual one"
            raise EngineTrouble(f"{where} (its kernel is {kernel}, ours {here})", _HERE)
        security = [str(option) for option in cast("list[object]", told.get("SecurityOptions") or [])]
        means = {"memory": "MemoryLimit", "processes": "PidsLimit"}
        return Facts(
            version=version,
            api=self._api,
            rootless=any("name=rootless" in option for option in security),
            remapped=any("name=userns" in option for option in security),
            keeps=frozenset(clause for clause, key in means.items() if told.get(key) is True),
            labelled=any("name=selinux" in option for option in security),
        )

    def image(self, name: str) -> Image:
        """Return an image that the engine has; raises with the command that fetches it when it has not."""
        found = None
        missing = contextlib.suppress(importlib.import_module(f"{PACKAGE}.errors").NotFound)
        with self.client(f"looking for the image {name!r}") as client, missing:
            found = _table(client.inspect_image(name))
        if found is None:
            raise EngineTrouble(
                f"the image {name!r} is not there, and none is fetched unasked", f"Fetch it: docker pull {name}"
            )
        config = cast("dict[str, object]", found.get("Config") or {})
        lines = [str(line) for line in cast("list[object]", config.get("Env") or [])]
        pairs = (line.partition("=") for line in lines)
        return Image(
            id=str(found.get("Id") or name),
            env={key: value for key, _, value in pairs},
            volumes=tuple(cast("dict[str, object]", config.get("Volumes") or {})),
        )

    def _knock(self) -> None:
        """Raise with the remedy unless somebody listens: the library's own errors for that say little."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.settimeout(self._seconds)
                sock.connect(str(self.path))
        except OSError as error:
            raise _silent(self.path, error) from error

    def _negotiate(self) -> str:
        client = self._open(".".join(map(str, OLDEST_API)))
        try:
            told = _table(client.version(api_version=False))
        finally:
            client.close()
        api = str(told.get("ApiVersion", ""))
        parts = api.split(".")
        if not all(part.isdigit() for part in parts) or tuple(map(int, parts)) < OLDEST_API:
            oldest = ".".join(map(str, OLDEST_API))
            raise EngineTrouble(
                f"the engine at {self.path} speaks version {api or '?'} of the API, {oldest} is needed",
                "Install Docker 20.10 or newer",
            )
        self._api = api
        return api

    def _open(self, api: str) -> Client:
        client = cast(
            "Client", self._docker.APIClient(base_url=f"unix://{self.path}", version=api, timeout=self._seconds)
        )
        # Neither a proxy nor the passwords in ~/.netrc concern a socket of this machine.
        client.trust_env = False
        return client


def attach(client: Client, container: str) -> socket.socket:
    """Return the stream to a container's standard input and from its outputs. Before its start, or output is lost."""
    attached = client.attach_socket(container, {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
    # Our own descriptor for the connection: the library's is only closed with its response, or when that is collected.
    with attached._response:  # pyright: ignore[reportPrivateUsage]
        stream = socket.socket(fileno=os.dup(attached.fileno()))
    stream.settimeout(None)
    return stream


def _library() -> _Library:
    try:
        return cast("_Library", importlib.import_module(PACKAGE))
    except ImportError as error:
        raise EngineTrouble(
            f"the Python package `docker` cannot be imported ({error})", "Install it: pip install 'agentd[docker]'"
        ) from error


class _Library(Protocol):
    utils: _Utils

    def APIClient(self, *, base_url: str, version: str, timeout: float) -> object: ...  # noqa: N802


class _Utils(Protocol):
    def kwargs_from_env(self) -> dict[str, object]: ...


def _chosen(library: _Library) -> str:
    """Return the address that nobody has given: the library reads `DOCKER_HOST`."""
    try:
        named = library.utils.kwargs_from_env().get("base_url")
    except Exception as error:  # the library's own kinds, which it may not have loaded
        told = f"the variables DOCKER_TLS_VERIFY and DOCKER_CERT_PATH cannot be used: {error}"
        raise EngineTrouble(
            told, "Unset them, or give base_url: a socket of this machine needs no certificate"
        ) from error
    if named:
        return str(named)
    rootless = _ROOTLESS.format(uid=os.getuid())
    return f"unix://{rootless if _is_socket(rootless) and not _is_socket(_DEFAULT) else _DEFAULT}"


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _socket_path(url: str) -> Path:
    scheme, colon, rest = url.strip().partition(":")
    if not colon or scheme.lower() not in ("unix", "http+unix"):
        kind = f"{scheme}://" if colon else "no scheme"
        raise EngineTrouble(f"{url!r} cannot be used ({kind})", _HERE)
    # A name may have anything in it, and so is not read as that of a page would be.
    path = f"/{rest.removeprefix('//').removeprefix('/')}" if rest.startswith("/") else ""
    if path in ("", "/") or set(path) & set("\0#?"):  # the library would cut it there
        raise EngineTrouble(f"{url!r} names no socket", "Write unix:///path/of/docker.sock")
    return Path(path)


def _table(answer: object) -> dict[str, object]:
    """Return an answer that has to be an object of JSON; raises `ValueError` when it is none."""
    if not isinstance(answer, dict):
        raise ValueError(f"it has answered {answer!r}")
    return cast("dict[str, object]", answer)


def _silent(path: Path, error: OSError) -> EngineTrouble:
    if error.errno == errno.ENOENT:
        return EngineTrouble(
            f"there is no engine at {path}", "Install and start Docker (systemctl start docker), or give its base_url"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return EngineTrouble(
            f"this user may not use {path}",
            "Run Docker rootless (dockerd-rootless-setuptool.sh install), or have this user added to the group of that "
            "socket, which is as good as root on this machine",
        )
    if error.errno == errno.ECONNREFUSED:
        return EngineTrouble(f"nobody listens at {path}", "Start Docker: systemctl start docker")
    return EngineTrouble(f"{path} cannot be connected to: {error.strerror or error}")


def _trouble(doing: str, error: Exception, fix: str = "") -> EngineTrouble:
    told = str(getattr(error, "explanation", None) or error).strip()
    if "bind source path does not exist" in told:
        fix = f"The engine does not see the files of this process. {_HERE}"
    return EngineTrouble(f"{doing}: {told}", fix)
