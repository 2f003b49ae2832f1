"""Figures of style, kept by `make lint`: how wide and dense the code is, and how it names things.

    python tools/style.py            figures, then every breach of a limit; exit 1 when there is one
    python tools/style.py --list     every name and line that counts against a figure

Counted are the product's Python files without migrations and tests. Limits only ever get stricter.
"""

import ast
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

COLUMNS = 100
# Words that tell a reader nothing about what a value is. A name may contain none of them.
BANNED = frozenset(
    [
        "found",
        "one",
        "ones",
        "wanted",
        "kept",
        "given",
        "told",
        "said",
        "shown",
        "asked",
        "known",
        "made",
        "held",
        "taken",
        "seen",
        "gone",
        "lost",
        "beside",
        "anew",
        "whoever",
        "nobody",
        "somebody",
        "whatever",
        "thing",
        "things",
        "stuff",
        "then",
        "there",
        "here",
    ]
)
# Prepositions and pronouns are no names of functions.
NO_FUNCTION = frozenset(
    [
        "of",
        "at",
        "by",
        "in",
        "on",
        "to",
        "from",
        "with",
        "for",
        "then",
        "why",
        "how",
        "what",
        "who",
        "room",
    ]
)
LIMITS = {
    "lines over 100 columns": 0.0,
    "characters a code line": 38.0,
    "functions with a banned name, %": 2.0,
    "packed assignments per 1,000 lines": 0.5,
    "chained ternaries": 0.0,
}


@dataclass
class Figures:
    """What was counted, and where."""

    lines: int = 0
    code_lines: int = 0
    characters: int = 0
    comments: int = 0
    functions: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    places: list[str] = field(default_factory=list)

    def add(self, figure: str, place: str) -> None:
        """Count one breach of a figure."""
        self.counts[figure] += 1
        self.places.append(f"{place}: {figure}")


def python_files(folders: list[str]) -> Iterator[Path]:
    """The tracked Python files of the product."""
    listing = subprocess.run(
        ["git", "ls-files", "*.py"], capture_output=True, text=True, check=True
    )
    for name in listing.stdout.splitlines():
        path = Path(name)
        if path.parts[0] in ("tests", "bench") or "migrations" in path.parts:
            continue
        if "tests" in path.parts or (folders and path.parts[0] not in folders):
            continue
        yield path


def local_names(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """The function's own name, its arguments and what it assigns."""
    names = {function.name}
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def is_packed(node: ast.AST) -> bool:
    """Whether a statement assigns unrelated values at once: `a, b = x, y`."""
    return (
        isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Tuple)
        and isinstance(node.value, ast.Tuple)
    )


def is_chained(node: ast.AST) -> bool:
    """Whether a ternary has another one inside."""
    return isinstance(node, ast.IfExp) and any(
        isinstance(part, ast.IfExp) for part in (node.body, node.orelse, node.test)
    )


def text_lines(text: str, tree: ast.Module) -> set[int]:
    """Numbers of the lines that belong to docstrings or to strings over several lines."""
    numbers: set[int] = set()
    for node in ast.walk(tree):
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_docstring and isinstance(node, ast.Expr):
            numbers.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    for token in tokenize.generate_tokens(StringIO(text).readline):
        if token.type == tokenize.STRING and token.end[0] > token.start[0]:
            numbers.update(range(token.start[0], token.end[0] + 1))
    return numbers


def count_file(path: Path, figures: Figures) -> None:
    """Add one file's figures."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    prose = text_lines(text, tree)
    for number, line in enumerate(text.splitlines(), 1):
        figures.lines += 1
        if len(line) > COLUMNS:
            figures.add("lines over 100 columns", f"{path}:{number}")
        stripped = line.strip()
        figures.comments += "#" in stripped and number not in prose
        if stripped and not stripped.startswith("#") and number not in prose:
            figures.code_lines += 1
            figures.characters += len(line)
    for node in ast.walk(tree):
        if is_packed(node):
            figures.add("packed assignments", f"{path}:{getattr(node, 'lineno', 0)}")
        elif is_chained(node):
            figures.add("chained ternaries", f"{path}:{getattr(node, 'lineno', 0)}")
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count_function(node, path, figures)


def count_function(
    node: ast.FunctionDef | ast.AsyncFunctionDef, path: Path, figures: Figures
) -> None:
    """Add one function's names."""
    figures.functions += 1
    banned = {name for name in local_names(node) if BANNED & set(name.strip("_").split("_"))}
    if node.name.strip("_") in NO_FUNCTION:
        banned.add(node.name)
    if banned:
        figures.add(
            "functions with a banned name", f"{path}:{node.lineno} {', '.join(sorted(banned))}"
        )


def main() -> int:
    """Print figures and breaches; the process's exit status."""
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    figures = Figures()
    for path in python_files(arguments):
        count_file(path, figures)
    counts = figures.counts
    values = {
        "lines over 100 columns": float(counts["lines over 100 columns"]),
        "characters a code line": figures.characters / max(figures.code_lines, 1),
        "comments per 100 code lines": 100 * figures.comments / max(figures.code_lines, 1),
        "functions with a banned name, %": 100
        * counts["functions with a banned name"]
        / max(figures.functions, 1),
        "packed assignments per 1,000 lines": 1000
        * counts["packed assignments"]
        / max(figures.lines, 1),
        "chained ternaries": float(counts["chained ternaries"]),
    }
    if "--list" in sys.argv:
        print("\n".join(figures.places))
    failed = False
    for name, value in values.items():
        limit = LIMITS.get(name)
        breach = limit is not None and value > limit
        failed = failed or breach
        print(f"{value:9.1f}  {name}" + (f"  (limit {limit:g})" if limit is not None else ""))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
