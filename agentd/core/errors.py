"""The errors that agentd raises; errors of the OpenAI SDK pass through unchanged."""

from __future__ import annotations


class AgentdError(Exception):
    """Something went wrong in agentd."""

    def __init__(self, detail: str = "") -> None:
        summary = (type(self).__doc__ or "").strip().splitlines()[0]
        super().__init__(f"{summary.rstrip('.')}: {detail}" if detail else summary)


class OptionError(AgentdError, ValueError):
    """An option cannot be used."""


class MalformedReply(AgentdError):
    """The model API sent something that is not a valid reply."""


class StreamCut(AgentdError):
    """The model API closed its stream before the reply was complete."""


class ExecutorUnavailable(AgentdError):
    """This executor cannot run here."""


class ExecutorLost(AgentdError):
    """The process that runs the code went away."""


class PathRefused(AgentdError):
    """A file must be created inside the workspace."""


class ToolFailed(AgentdError):
    """A tool call failed."""


class ServerFailed(AgentdError):
    """An MCP server failed."""


class NotOffered(ServerFailed):
    """An MCP server does not offer this."""


class NotPatched(AgentdError, TypeError):
    """This object does not come from a patched client."""


class ProviderUnavailable(AgentdError):
    """This model's provider cannot be reached from here."""
