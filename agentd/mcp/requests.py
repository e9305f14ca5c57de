"""What can be asked of a server besides calling its tools: one coroutine a request, over the SDK's session."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast

import mcp_types as types
from mcp import ClientSession
from mcp.client._input_required import run_input_required_driver  # what its own Client answers questions with
from mcp.client.session import ClientRequestContext
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from agentd.core.errors import NotOffered, OptionError
from agentd.mcp.contents import (
    Completion,
    Prompt,
    PromptRef,
    PromptResult,
    Resource,
    ResourceContents,
    ResourceRef,
    ResourceTemplate,
)
from agentd.mcp.pages import all_pages
from agentd.mcp.reading import completion_of, contents_of, prompt_of, prompt_result_of, resource_of, template_of

_T = TypeVar("_T", bound=types.Result)


def is_modern(session: ClientSession) -> bool:
    """Tell whether the server speaks the stateless revisions of the protocol."""
    return session.protocol_version in MODERN_PROTOCOL_VERSIONS


def need(session: ClientSession, server: str, feature: str) -> None:
    """Raise `NotOffered` when the server has not declared the capability `feature`."""
    capabilities = session.server_capabilities
    if capabilities is None or getattr(capabilities, feature) is None:
        raise NotOffered(f"{server} has no {feature}: it does not declare that capability")


async def list_resources(server: str, session: ClientSession) -> list[Resource]:
    """List all resources."""
    need(session, server, "resources")
    pages = await all_pages(lambda at: session.list_resources(params=_page(at)), lambda page: page.resources)
    return [resource_of(each) for each in pages]


async def list_resource_templates(server: str, session: ClientSession) -> list[ResourceTemplate]:
    """List all resource templates."""
    need(session, server, "resources")
    pages = await all_pages(
        lambda at: session.list_resource_templates(params=_page(at)), lambda page: page.resource_templates
    )
    return [template_of(each) for each in pages]


async def list_prompts(server: str, session: ClientSession) -> list[Prompt]:
    """List all prompts."""
    need(session, server, "prompts")
    pages = await all_pages(lambda at: session.list_prompts(params=_page(at)), lambda page: page.prompts)
    return [prompt_of(each) for each in pages]


async def read_resource(server: str, uri: str, session: ClientSession) -> list[ResourceContents]:
    """Read a resource: one content, or one for each of its parts."""
    need(session, server, "resources")
    ask = functools.partial(session.read_resource, uri, allow_input_required=True)
    found: types.ReadResourceResult = await _with_questions(session, ask)
    return [contents_of(each) for each in found.contents]


async def get_prompt(server: str, name: str, arguments: Mapping[str, str], session: ClientSession) -> PromptResult:
    """Have a prompt filled in."""
    need(session, server, "prompts")
    ask = functools.partial(session.get_prompt, name, dict(arguments) or None, allow_input_required=True)
    found: types.GetPromptResult = await _with_questions(session, ask)
    return prompt_result_of(found)


async def complete(
    server: str,
    ref: PromptRef | ResourceRef,
    argument: tuple[str, str],
    known: Mapping[str, str],
    session: ClientSession,
) -> Completion:
    """Ask for values of the argument, a name and the start of its value; `known` are arguments that are settled."""
    need(session, server, "completions")
    asked = (
        types.PromptReference(name=ref.name)
        if isinstance(ref, PromptRef)
        else types.ResourceTemplateReference(uri=ref.uri)
    )
    name, value = argument
    found = await session.complete(asked, {"name": name, "value": value}, dict(known) or None)
    return completion_of(found.completion)


async def ping(server: str, session: ClientSession) -> None:
    """Ask for a sign of life."""
    if is_modern(session):
        raise NotOffered(f"{server} speaks {session.protocol_version}, which has no ping")
    await session.send_ping()


async def set_log_level(server: str, level: types.LoggingLevel, session: ClientSession) -> None:
    """Ask for log lines of this level and above: once, or in the stateless era with every request from now on."""
    if is_modern(session):
        setattr(session, "_log_level", level)  # noqa: B010  the SDK takes it at the start only; `adopt` reads it anew
        session.adopt(cast(types.DiscoverResult, session.discover_result))
        return
    need(session, server, "logging")
    await session.send_request(
        types.SetLevelRequest(params=types.SetLevelRequestParams(level=level)), types.EmptyResult
    )


async def tell_roots_changed(session: ClientSession) -> None:
    """Tell the server that there are other roots; the stateless era asks for them when it needs them."""
    if not is_modern(session):
        await session.send_notification(types.RootsListChangedNotification())


def log_level_of(level: str) -> types.LoggingLevel:
    """Return `level` if the protocol has it."""
    levels = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
    if level not in levels:
        raise OptionError(f"a log level is one of {', '.join(levels)}, not {level!r:.50}")
    return level


def _page(cursor: str | None) -> types.PaginatedRequestParams:
    return types.PaginatedRequestParams(cursor=cursor)


async def _with_questions(session: ClientSession, ask: Callable[..., Awaitable[_T | types.InputRequiredResult]]) -> _T:
    """Send a request whose answer may be a question of the server, which the session's callbacks answer."""

    async def retry(responses: types.InputResponses | None, state: str | None) -> _T | types.InputRequiredResult:
        return await ask(input_responses=responses, request_state=state)

    async def dispatch(key: str, request: types.InputRequest) -> types.InputResponse | types.ErrorData:
        context = ClientRequestContext(session=session, request_id=key, meta=_meta_of(request))
        return await session.dispatch_input_request(context, request)

    first = await ask()
    if not isinstance(first, types.InputRequiredResult):
        return first
    return await run_input_required_driver(first, dispatch=dispatch, retry=retry)


def _meta_of(request: types.InputRequest) -> Any:
    return request.params.meta if request.params else None
