"""Titles of chunks of code: the rule by indentation beside tree-sitter.

    python -m benchmarks.code_titles FOLDER... [--files 100] [--show 0]

For every chunk of the source files, the innermost name in its title beside the innermost function or class that tree-sitter finds
around its first line, which needs `tree-sitter-language-pack`. By language, in percent of chunks:

    same     the same name, or none of both
    outer    the name of what is around that
    none     no title, where there is a name
    wrong    any other title, or one where there is no name

and the milliseconds of a file by either.
"""

import argparse
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from time import process_time
from typing import Any

from rearank_agent.search.above import definitions_above
from rearank_agent.search.convert import Converter
from rearank_agent.search.decode import decoded
from rearank_agent.search.extract import extract
from rearank_agent.search.unread import UnreadError

LANGUAGES = {
    ".py": "python", ".js": "javascript", ".ts": "typescript", ".c": "c", ".cpp": "cpp", ".cc": "cpp", ".h": "cpp",
    ".hpp": "cpp", ".java": "java", ".kt": "kotlin", ".go": "go", ".rs": "rust", ".php": "php", ".cs": "csharp", ".rb": "ruby",
}  # fmt: skip
DEFINES = re.compile(
    r"(?:\w+_)?(?:function|class|method|constructor|interface|enum|struct|record|trait|namespace|object|type)"
    r"(?:_signature)?_(?:definition|declaration|item|specifier|declarator)|impl_item|mod_item|class|module|(?:singleton_)?method|type_spec"
)
ASSIGNS = (
    "variable_declarator",
    "field_definition",
    "public_field_definition",
    "pair",
    "assignment_expression",
)
FUNCTIONS = (
    "arrow_function",
    "anonymous_function",
    "anonymous_function_creation_expression",
    "function_expression",
    "class",
)
MOST_BYTES = 200_000
COLUMNS = ("same", "outer", "none", "wrong")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--files", type=int, default=100, help="of each language, by chance")
    parser.add_argument("--show", type=int, default=0, help="chunks that differ, of each kind")
    options = parser.parse_args()
    try:
        from tree_sitter_language_pack import get_parser
    except ImportError:
        sys.exit("needs: pip install tree-sitter-language-pack")
    print(
        f"{'':<11}{'files':>6}{'chunks':>8}{'in one':>8}",
        *(f"{c:>6}" for c in COLUMNS),
        f"{'ours':>8} ms{'theirs':>8} ms",
    )
    for language, paths in sorted(sources(options.folders, options.files).items()):
        print(row(language, paths, get_parser(language), options.show))  # type: ignore[arg-type]


def sources(folders: Sequence[Path], most: int) -> dict[str, list[Path]]:
    """The files by language; a text that stands in several places counts once."""
    found: dict[str, dict[tuple[str, int], Path]] = {}
    for folder in folders:
        for top, _, names in os.walk(folder):
            for name in names:
                path = Path(top, name)
                language = LANGUAGES.get(path.suffix)
                if (
                    language
                    and path.is_file()
                    and path.stat().st_size < MOST_BYTES
                    and not name.endswith(".d.ts")
                ):
                    found.setdefault(language, {}).setdefault((name, path.stat().st_size), path)
    chosen = {language: sorted(files.values()) for language, files in found.items()}
    return {
        language: Random(1).sample(paths, min(most, len(paths)))
        for language, paths in chosen.items()
    }


def row(language: str, paths: Sequence[Path], parser: Any, show: int) -> str:
    """A line of the table."""
    counts: Counter[str] = Counter()
    files = inside = 0
    ours = theirs = 0.0
    for path in paths:
        chunks = extract(path.name, lambda path=path: path.open("rb"), Converter().convert).chunks
        if not chunks:
            continue
        try:
            text, _ = decoded(path.read_bytes())
        except UnreadError:
            continue
        files += 1
        start = process_time()
        definitions_above(text)
        middle = process_time()
        root = parser.parse(text.encode()).root_node
        lines = text.split("\n")
        names = [list(around(root, lines[chunk.start - 1], chunk.start - 1)) for chunk in chunks]
        ours, theirs = ours + middle - start, theirs + process_time() - middle
        for chunk, true in zip(chunks, names, strict=True):
            kind = verdict(chunk.title, true)
            counts[kind] += 1
            inside += bool(true)
            if kind != "same" and counts[kind] <= show:
                print(f"  {kind}: {path}:{chunk.start} {chunk.title!r} {true[:1]}")
    chunks_ = counts.total()
    shares = (f"{100 * counts[column] / chunks_:6.1f}" for column in COLUMNS)
    times = f"{1000 * ours / files:8.1f}   {1000 * theirs / files:8.1f}"
    return " ".join([f"{language:<11}{files:>6}{chunks_:>8}{inside:>8}", *shares, times])


def around(root: Any, body: str, line: int) -> Iterator[str]:
    """The names of the functions and classes that begin above a line and end below, innermost first."""
    at = (line, len(body[: len(body) - len(body.lstrip())].encode()))
    node = root.descendant_for_point_range(at, at)
    while node is not None:
        if node.start_point[0] < line and (name := name_of(node)):
            yield name
        node = node.parent


def name_of(node: Any) -> str:
    """The name that a node defines, or nothing."""
    value = node.child_by_field_name("value") or node.child_by_field_name("right")
    if node.type in ASSIGNS:
        if value is None or value.type not in FUNCTIONS:
            return ""
    elif not DEFINES.fullmatch(node.type) or (
        node.type.endswith("specifier") and not node.child_by_field_name("body")
    ):
        return ""
    named = None
    for field in ("name", "property", "key", "left", "declarator", "type"):
        named = named or node.child_by_field_name(field)
    named = named or next((child for child in node.children if "identifier" in child.type), None)
    while named is not None and (inner := named.child_by_field_name("declarator")):
        named = inner
    last = re.findall(r"~?\w+", named.text.decode()) if named is not None else []
    return last[-1] if last else ""


def verdict(title: str, true: Sequence[str]) -> str:
    """How a title stands beside the names around it, innermost first."""
    if not title:
        return "none" if true else "same"
    words = re.findall(r"~?\w+", title.rpartition(" > ")[2])
    held = [name in words for name in true]
    return "wrong" if not any(held) else "same" if held[0] else "outer"


if __name__ == "__main__":
    main()
