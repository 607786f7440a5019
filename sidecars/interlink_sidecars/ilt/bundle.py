"""One stdlib-only file from the modules of this package: what runs in the job.

Pure: sources in, source out. The modules stand one after the other, each after those
it imports; the imports between them vanish, because all their names are then global.
Two modules that define the same name cannot be bundled, and that is an error.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from importlib import resources

ENTRY = "agent"
"""The module whose ``__main__`` part runs."""

_HEADER = (
    '"""interLinkSpawner\'s in-job agent, made by interlink_sidecars.ilt.bundle."""'
)


def agent_source() -> str:
    """The agent as one file for Python 3.8 and later."""
    package = resources.files(__package__)
    names = [p.name for p in package.iterdir() if p.name.endswith(".py")]
    sources = {n.removesuffix(".py"): (package / n).read_text("utf-8") for n in names}
    return bundle(sources, ENTRY)


def bundle(sources: Mapping[str, str], entry: str) -> str:
    """``entry`` and all modules that it needs, as one source.

    Raises:
        ValueError: two modules define one name, or a module is imported in a way that
            has no meaning in one file (``from . import x``, ``from .x import y as z``).
    """
    trees = {name: ast.parse(source) for name, source in sources.items()}
    imports: set[str] = set()
    owners: dict[str, str] = {}
    sections: list[str] = []
    for module in _in_order(trees, entry):
        for name in _defined_names(trees[module]):
            if owners.setdefault(name, module) != module:
                raise ValueError(f"{name} is in both {owners[name]} and {module}.")
        imports |= {ast.unparse(node) for node in _outer_imports(trees[module])}
        body = _without_imports(sources[module], trees[module]).strip()
        sections.append(f"# --- {module}.py {'-' * (72 - len(module))}\n\n{body}\n")
    head = [_HEADER, "", "from __future__ import annotations", "", *sorted(imports)]
    return "\n\n".join(["\n".join(head), *sections])


def _in_order(trees: Mapping[str, ast.Module], entry: str) -> list[str]:
    """The modules that ``entry`` needs, each after its own needs."""
    order: list[str] = []

    def visit(module: str) -> None:
        for node in trees[module].body:
            if isinstance(node, ast.ImportFrom) and node.level:
                if node.module is None or any(alias.asname for alias in node.names):
                    raise ValueError(f"{module}: cannot bundle {ast.unparse(node)!r}.")
                visit(node.module)
        if module not in order:
            order.append(module)

    visit(entry)
    return order


def _outer_imports(tree: ast.Module) -> list[ast.stmt]:
    """Imports of the standard library."""
    return [
        node
        for node in tree.body
        if isinstance(node, ast.Import)
        or (
            isinstance(node, ast.ImportFrom)
            and not node.level
            and node.module != "__future__"
        )
    ]


def _defined_names(tree: ast.Module) -> set[str]:
    """What the module itself puts into the global namespace."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {
                name.id
                for target in targets
                for name in ast.walk(target)
                if isinstance(name, ast.Name)
            }
    return names


def _without_imports(source: str, tree: ast.Module) -> str:
    lines = source.splitlines()
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert node.end_lineno is not None
            for number in range(node.lineno - 1, node.end_lineno):
                lines[number] = ""
    return "\n".join(lines)
