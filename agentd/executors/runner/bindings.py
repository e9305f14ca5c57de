"""The module `lib.tools`: made from source that the host sends, shared by all blocks that are forked afterwards."""

from __future__ import annotations

import builtins
import sys
import types
from collections.abc import Mapping, Sequence

from .calls import Calls, ToolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
else:
    # `importlib` has many other modules behind these, none of which is needed here.
    Loader = object
    ModuleSpec = type(sys.__spec__)

NAME = "lib.tools"
FILE = "<lib.tools>"


class Bindings:
    """One version of `lib.tools`, and the built-in names that a block sees with it."""

    def __init__(self, source: str, calls: Calls) -> None:
        self.module = types.ModuleType(NAME, "The tools of this session.")
        self.trouble = ""
        space = self.module.__dict__
        space["_call"] = calls.call
        space["ToolError"] = ToolError
        import linecache

        linecache.cache[FILE] = (len(source), None, source.splitlines(keepends=True), FILE)
        try:
            exec(compile(source, FILE, "exec", dont_inherit=True), space)
        except Exception as error:
            self.trouble = f"{type(error).__name__}: {error}"
        self.error: type[Exception] = space["ToolError"]
        names = {} if self.trouble else {name: space[name] for name in _public(space)}
        self.scope: dict[str, object] = {**names, **builtins.__dict__}


def _public(space: Mapping[str, object]) -> list[str]:
    listed = space.get("__all__")
    if isinstance(listed, (list, tuple)):
        return [str(name) for name in listed if name in space]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return [n for n, v in space.items() if not n.startswith("_") and getattr(v, "__module__", None) == NAME]


class Finder:
    """Finds `lib.tools` before, and an empty package `lib` after everything that is on `sys.path`."""

    current: Bindings | None = None

    @classmethod
    def install(cls) -> None:
        sys.meta_path.insert(0, _First())
        sys.meta_path.append(_Last())


class _First:
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != NAME or Finder.current is None:
            return None
        return ModuleSpec(NAME, _Ready(Finder.current), origin=FILE)


class _Last:
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "lib" or Finder.current is None:
            return None
        return ModuleSpec("lib", None, is_package=True)


class _Ready(Loader):
    """Loads what is there already."""

    def __init__(self, bindings: Bindings) -> None:
        self._bindings = bindings

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        if self._bindings.trouble:
            raise ImportError(f"lib.tools could not be made: {self._bindings.trouble}", name=NAME)
        return self._bindings.module

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing is left to be done."""
