"""A file says one thing, a function does one: there is no list of exemptions."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.unit.structure.source import FOLDERS, FUNCTIONS, Source, offences, sources

LINES_OF_A_FILE = 400
LINES_OF_A_FUNCTION = 60
NESTING = 4

BLOCKS = ast.If | ast.For | ast.AsyncFor | ast.While | ast.With | ast.AsyncWith | ast.Try | ast.TryStar | ast.Match


def test_files_are_short() -> None:
    def too_long(file: Source) -> Iterator[tuple[int, str]]:
        count = len(file.text.splitlines())
        if count > LINES_OF_A_FILE:
            yield count, f"has more than {LINES_OF_A_FILE} lines"

    assert offences(sources(*FOLDERS), too_long) == []


def test_functions_are_short() -> None:
    def too_long(file: Source) -> Iterator[tuple[int, str]]:
        for function in file.functions():
            count = (function.end_lineno or function.lineno) - function.lineno + 1
            if count > LINES_OF_A_FUNCTION:
                yield function.lineno, f"{function.name} has {count} lines, more than {LINES_OF_A_FUNCTION}"

    assert offences(sources(*FOLDERS), too_long) == []


def test_functions_are_flat() -> None:
    def too_deep(file: Source) -> Iterator[tuple[int, str]]:
        for function in file.functions():
            depth = max(depth_of(statement) for statement in function.body)
            if depth > NESTING:
                yield function.lineno, f"{function.name} nests {depth} deep, more than {NESTING}"

    assert offences(sources(*FOLDERS), too_deep) == []


def depth_of(node: ast.AST) -> int:
    """Return how deep blocks stand in each other from here on; a function inside counts for itself."""
    if isinstance(node, FUNCTIONS | ast.Lambda | ast.ClassDef):
        return 0
    inner = max((depth_of(child) for child in ast.iter_child_nodes(node) if not is_elif(node, child)), default=0)
    chained = max((depth_of(child) for child in ast.iter_child_nodes(node) if is_elif(node, child)), default=0)
    return max(inner + isinstance(node, BLOCKS), chained)


def is_elif(node: ast.AST, child: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]


def test_depth_counts_blocks_and_not_branches() -> None:
    chain = "if a: pass\nelif b: pass\nelif c:\n    for x in y: pass"
    deep = "for a in b:\n    with c:\n        try: pass\n        except E:\n            while d: pass"
    assert depth_of(ast.parse(chain).body[0]) == 2
    assert depth_of(ast.parse(deep).body[0]) == 4
