"""Hashes of Python code, in which comments and docstrings do not count (no heavy import)."""

import ast
import hashlib
from pathlib import Path


def code_sha256(path: Path) -> str:
    """sha256 of a Python file's code, of its bytes where it is no valid Python."""
    content = Path(path).read_bytes()
    try:
        return tree_sha256(bare_tree(content))
    except (SyntaxError, ValueError):  # whoever imports it says so
        return hashlib.sha256(content).hexdigest()


def bare_tree(content: bytes) -> ast.Module:
    """The syntax tree of Python code without docstrings."""
    return _Bare().visit(ast.parse(content))


def tree_sha256(tree: ast.Module) -> str:
    """sha256 of a syntax tree, wherever its parts stand in the file."""
    return hashlib.sha256(ast.dump(tree, include_attributes=False).encode()).hexdigest()


class _Bare(ast.NodeTransformer):
    """Takes docstrings out, those under fields too (comments are not in the tree)."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [part for part in node.body if not _is_text(part)]
        return node


def _is_text(node: ast.AST) -> bool:
    """True for a statement that is nothing but a string."""
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)
