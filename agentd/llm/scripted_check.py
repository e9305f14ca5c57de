"""The part of the API's validation that both dialects share: errors in the API's own form, parameters, auth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeGuard

_RESPONSES_PARAMETERS = (
    "access_programs background context_management conversation image include input instructions max_output_tokens "
    "max_tool_calls metadata model moderation parallel_tool_calls previous_response_id prompt prompt_cache_key "
    "prompt_cache_options prompt_cache_retention reasoning safety_identifier service_tier store stream stream_options "
    "temperature text tool_choice tools top_logprobs top_p truncation user"
)
_CHAT_PARAMETERS = (
    "audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens messages "
    "metadata modalities model moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key "
    "prompt_cache_options prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier "
    "stop store stream stream_options temperature tool_choice tools top_logprobs top_p user verbosity "
    "web_search_options"
)
RESPONSES_PARAMETERS = frozenset(_RESPONSES_PARAMETERS.split())
CHAT_PARAMETERS = frozenset(_CHAT_PARAMETERS.split())


class ApiError(Exception):
    """An error that is answered in the API's format."""

    def __init__(
        self, message: str, param: str | None = None, code: str | None = None, status: int = 400, kind: str = ""
    ) -> None:
        super().__init__(message)
        self.status = status
        self._error = {"message": message, "type": kind or "invalid_request_error", "param": param, "code": code}

    def body(self) -> bytes:
        return json.dumps({"error": self._error}, ensure_ascii=False).encode()


def check_headers(headers: Mapping[str, str], has_body: bool) -> None:
    """Refuse a request without a key, or with a body that is not declared to be JSON."""
    bearer, _, key = headers.get("authorization", "").partition(" ")
    if not (bearer.lower() == "bearer" and key.strip()) and not headers.get("api-key"):
        message = "You didn't provide an API key. Provide it in an Authorization header (Authorization: Bearer KEY)."
        raise ApiError(message, status=401, code="missing_api_key")
    content_type = headers.get("content-type", "")
    if has_body and content_type.partition(";")[0].strip().lower() != "application/json":
        message = "This API method only accepts 'application/json' requests"
        raise ApiError(f"{message}, but the Content-Type is '{content_type}'.", code="unsupported_content_type")


def parse_body(raw: bytes) -> dict[str, Any]:
    """Return the request's JSON object."""
    try:
        body = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ApiError(f"We could not parse the JSON body of your request: {error}") from error
    if not is_object(body):
        raise wrong_type("body", "an object", body)
    return body


def check_parameters(body: dict[str, Any], known: frozenset[str]) -> None:
    """Refuse unknown parameters and shared ones of a wrong type."""
    if not body.keys() <= known:
        name = min(body.keys() - known)
        raise ApiError(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    if not isinstance(body.get("model", ""), str):
        raise wrong_type("model", "a string", body["model"])
    if not isinstance(body.get("stream") or False, bool):
        raise wrong_type("stream", "a boolean", body["stream"])
    if body.get("stream_options") is not None and not body.get("stream"):
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise ApiError(message, "stream_options")
    for index, tool in enumerate(sequence(body, "tools")):
        if not is_object(tool) or not isinstance(tool.get("type"), str):
            raise missing(f"tools[{index}].type")


def check_function(function: dict[str, Any], where: str) -> None:
    """Refuse a function tool without a usable name or with parameters that are no schema."""
    name = function.get("name")
    if not isinstance(name, str):
        raise missing(f"{where}.name")
    if not (0 < len(name) <= 64) or not name.replace("_", "").replace("-", "").isalnum() or not name.isascii():
        message = f"Invalid '{where}.name': '{name}' does not match the pattern '^[a-zA-Z0-9_-]{{1,64}}$'."
        raise ApiError(message, f"{where}.name", "invalid_value")
    if not isinstance(function.get("parameters") or {}, dict):
        raise wrong_type(f"{where}.parameters", "an object", function["parameters"])


def sequence(body: dict[str, Any], name: str) -> list[Any]:
    """Return a list parameter, empty when it is absent or null."""
    value = body.get(name)
    if value is None:
        return []
    if not is_list(value):
        raise wrong_type(name, "an array", value)
    return value


def tokens_in(characters: int) -> int:
    """Estimate tokens at four characters each, so that only nothing counts nothing."""
    return (characters + 3) // 4


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def missing(param: str) -> ApiError:
    return ApiError(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")


def wrong_type(param: str, wanted: str, value: object) -> ApiError:
    got = type(value).__name__
    return ApiError(f"Invalid type for '{param}': expected {wanted}, but got {got} instead.", param, "invalid_type")


def wrong_value(param: str, value: object, supported: object) -> ApiError:
    return ApiError(f"Invalid value: '{value}'. Supported values are: {supported}.", param, "invalid_value")


def check_parts(parts: Any, where: str, supported: Mapping[str, str]) -> int:
    """Refuse content that is neither text nor a list of supported parts; return the characters of text in it.

    `supported` maps each type to the key that it must have, or to ``""``.
    """
    if isinstance(parts, str):
        return len(parts)
    if not is_list(parts):
        raise wrong_type(where, "a string or an array", parts)
    size = 0
    for index, part in enumerate(parts):
        if not is_object(part):
            raise wrong_type(f"{where}[{index}]", "an object", part)
        kind = part.get("type")
        if not isinstance(kind, str) or kind not in supported:
            raise wrong_value(f"{where}[{index}]", kind, sorted(supported))
        key = supported[kind]
        value = part.get(key) if key else ""
        if value is None or (key == "text" and not isinstance(value, str)):
            raise missing(f"{where}[{index}].{key}")
        size += len(value) if isinstance(value, str) else 0
    return size
