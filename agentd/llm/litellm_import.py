"""How LiteLLM gets into the process: once, at first need, and without leaving a trace beside its modules.

Left to itself, it loads a `.env` of the working directory into the environment, fetches a price list and a list of
headers, points `TIKTOKEN_CACHE_DIR` at its own folder, and writes its warnings to standard error.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import os
import re
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

from agentd.core.errors import ProviderUnavailable

OLDEST = (1, 106)
_DURING = {
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
}
_WRITTEN_BY_IT = ("TIKTOKEN_CACHE_DIR",)
_LOGGERS = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")
_lock = threading.Lock()


def loaded() -> Any:
    """Return LiteLLM when its import has ended, else `None`."""
    module = sys.modules.get("litellm")
    spec: Any = getattr(module, "__spec__", None)
    return None if getattr(spec, "_initializing", False) else module


def load(model: str) -> Any:
    """Return LiteLLM, imported now if it has not been: that takes seconds. `model` is what it is wanted for.

    Raises `ProviderUnavailable` when it is missing, too old or broken. A LiteLLM that the user's own code has imported
    is taken with its settings as they are.
    """
    with _lock:
        if "litellm" in sys.modules:
            return importlib.import_module("litellm")
        _check_version(model)
        with _environment():
            try:
                module: Any = importlib.import_module("litellm")
                _load_what_it_puts_off(module)
            except ImportError as error:
                raise ProviderUnavailable(f"LiteLLM, which {model!r} needs, cannot be imported: {error}") from error
        _quieten(module)
    return module


def _check_version(model: str) -> None:
    try:
        version = importlib.metadata.version("litellm")
    except importlib.metadata.PackageNotFoundError:
        told = (
            f"{model!r} goes through LiteLLM, which is not installed; install the extra: pip install 'agentd[litellm]'"
        )
        raise ProviderUnavailable(told) from None
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers is None or (int(numbers[1]), int(numbers[2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise ProviderUnavailable(
            f"{model!r} goes through LiteLLM, and {version} loses parts of streams; install {oldest} or newer"
        )


@contextmanager
def _environment() -> Generator[None]:
    """Set the variables that LiteLLM reads at its import, and afterwards give each of them its old value again."""
    before = {name: os.environ.get(name) for name in (*_DURING, *_WRITTEN_BY_IT)}
    os.environ.update(_DURING)
    try:
        yield
    finally:
        for name, value in before.items():
            if name in _DURING and os.environ.get(name) != _DURING[name]:
                continue  # another thread has set it meanwhile
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _load_what_it_puts_off(module: Any) -> None:
    """Load now what would read the environment, write it or ask the network at the first call.

    These are parts that another version may not have; a test watches that no call of ours reaches the network.
    """
    with suppress(ImportError, AttributeError):
        headers: Any = importlib.import_module("litellm.anthropic_beta_headers_manager")
        headers._load_beta_headers_config()
    with suppress(ImportError):
        importlib.import_module("litellm.litellm_core_utils.default_encoding")
        tiktoken: Any = importlib.import_module("tiktoken")
        # Its folder is known only now; where usage must be counted, newer models need this one.
        tiktoken.get_encoding("o200k_base")
    module.disable_hf_tokenizer_download = True


def _quieten(module: Any) -> None:
    module.suppress_debug_info = True
    module.telemetry = False
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
        # What it has to say goes to the handlers of the program, and nowhere when there is none.
        logger.addHandler(logging.NullHandler())
