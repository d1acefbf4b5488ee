"""Prints ARCHITECTURE.md's table of which crate imports which, and every cycle of files that import each other.

`python3 scripts/imports.py` prints both and fails if there is a cycle. With `--check` it prints only the cycles, and also fails if
ARCHITECTURE.md's table names other imports than the Cargo.toml files. Imports in tests do not count, nor do those between a module and the
modules inside it. A re-exported item is looked up where it is defined.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
Module = tuple[str, ...]
# The order of effgan-run's modules, as in its crate docs: each imports only from those before it.
RUN = "failure units config privacy record scores report progress protocol pipeline sweep steps api".split()


@dataclass
class Crate:
    """The modules of one crate, each by its path."""

    files: dict[Module, Path] = field(default_factory=dict)
    uses: dict[Module, list[Module]] = field(default_factory=dict)
    exports: dict[Module, dict[str, Module]] = field(default_factory=dict)

    def defined_in(self, path: Module, depth: int = 0) -> Module | None:
        """The module whose file defines the item at `path`, which starts at the crate's root."""
        for length in range(len(path), -1, -1):
            module = path[:length]
            if module in self.files:
                rest = path[length:]
                target = self.exports[module].get(rest[0]) if rest else None
                return self.defined_in(target + rest[1:], depth + 1) if target and depth < 9 else module
        return None


def code(path: Path) -> str:
    """The text of a file without comments, strings and unit tests."""
    text = path.read_text("utf-8").split("#[cfg(test)]\nmod tests {")[0]
    text = re.sub(r"#\[cfg\(test\)\]\n[^\n]*\n", "", text)
    return re.sub(r'//[^\n]*|"(\\.|[^"\\])*"', "", text)


def leaves(tree: str) -> Iterator[list[str]]:
    """The paths of a `use` tree, such as `a::{b, c::d as e}`; a name after `as` is dropped."""
    tree = tree.strip()
    head, brace, rest = tree.partition("{")
    if not brace:
        yield [part.strip().split(" as ")[0] for part in tree.split("::")]
        return
    prefix, depth, piece = head.rstrip(": \n").split("::"), 0, ""
    for letter in rest.rpartition("}")[0] + ",":
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            if piece.strip():
                yield from (prefix + leaf for leaf in leaves(piece))
            piece = ""
        else:
            piece += letter


def absolute(path: list[str], module: Module) -> Module | None:
    """The path from the crate's root; `None` for a path in another crate."""
    if path[0] == "crate":
        return tuple(path[1:])
    base = module
    while path and path[0] in ("self", "super"):
        base = base[:-1] if path[0] == "super" else base
        path = path[1:]
        if not path:
            return base
    return base + tuple(path) if base != module or path[0] != path[0].lower() else None


def read(folder: Path) -> Crate:
    """The modules of the crate in `folder` and what they import."""
    crate, source = Crate(), folder / "src"
    for path in sorted(source.rglob("*.rs")):
        parts = path.relative_to(source).with_suffix("").parts
        if "tests" in parts or parts in (("main",), ("build",)):
            continue
        crate.files[() if parts == ("lib",) else parts[:-1] if parts[-1] == "mod" else parts] = path
    for module, path in crate.files.items():
        text = code(path)
        crate.uses[module], crate.exports[module] = [], {}
        for public, tree in re.findall(r"\b(pub(?:\([a-z ]+\))? )?use ([^;]+);", text):
            for leaf in leaves(tree):
                if leaf[0] in ("self", "super", "crate"):
                    target = absolute([part for part in leaf if part != "*"], module)
                elif module + (leaf[0],) in crate.files:
                    target = module + tuple(leaf)
                else:
                    continue
                if target is None:
                    continue
                if public:
                    crate.exports[module][leaf[-1]] = target
                else:
                    crate.uses[module].append(target)
        without_uses = re.sub(r"\buse [^;]+;", "", text)
        for path_text in re.findall(r"\b(?:crate|super)(?:::\w+)+", without_uses):
            target = absolute(path_text.split("::"), module)
            if target is not None:
                crate.uses[module].append(target)
    return crate


def cycles(crate: Crate) -> list[list[Module]]:
    """Groups of modules that import each other, directly or through others."""
    edges: dict[Module, set[Module]] = {}
    for module, uses in crate.uses.items():
        targets = {crate.defined_in(use) for use in uses} - {None, module}
        is_inside = lambda a, b: a[: len(b)] == b  # noqa: E731
        edges[module] = {to for to in targets if to is not None and not is_inside(to, module) and not is_inside(module, to)}

    def reached(start: Module) -> set[Module]:
        found, todo = set[Module](), [start]
        while todo:
            new = edges[todo.pop()] - found
            found |= new
            todo.extend(new)
        return found

    reach = {module: reached(module) for module in edges}
    groups = {tuple(sorted(to for to in reach[module] if module in reach[to])) for module in edges if module in reach[module]}
    return [list(group) for group in sorted(groups)]


def upwards(crate: Crate) -> list[str]:
    """Imports of a module of effgan-run from one that comes after it."""
    pairs = {(module[0], target[0]) for module, uses in crate.uses.items() for target in map(crate.defined_in, uses) if module and target}
    return [f"effgan-run: {low} imports {high}, which comes after it" for low, high in sorted(pairs) if RUN.index(high) > RUN.index(low)]


def table() -> list[str]:
    """ARCHITECTURE's table: crates from the bottom up, lines, and which of the others each may import."""
    manifests = [*REPOSITORY.glob("crates/*/Cargo.toml"), REPOSITORY / "bindings/python/Cargo.toml"]
    imports: dict[str, list[str]] = {}
    lines: dict[str, int] = {}
    for manifest in manifests:
        parsed = tomllib.loads(manifest.read_text("utf-8"))
        name = parsed["package"]["name"]
        imports[name] = sorted(other for other in parsed.get("dependencies", {}) if other.startswith("effgan-"))
        lines[name] = sum(len(path.read_text("utf-8").splitlines()) for path in (manifest.parent / "src").rglob("*.rs"))
    rows, done = [], list[str]()
    while len(done) < len(imports):
        ready = [name for name in sorted(imports) if name not in done and set(imports[name]) <= set(done)]
        done += ready
        for name in ready:
            if lines[name] >= 100:
                others = ", ".join(other.removeprefix("effgan-") for other in imports[name]) or "none of the others"
                rows.append(f"| `{name}` | {lines[name] / 1000:.1f}k | {others} |")
    return ["| crate | lines | may import |", "| --- | --- | --- |", *rows]


def main() -> None:
    """Prints the table and the cycles."""
    wrong = upwards(read(REPOSITORY / "crates/effgan-run"))
    for folder in sorted(REPOSITORY.glob("crates/*")):
        for group in cycles(read(folder)):
            wrong.append(f"{folder.name}: " + ", ".join("::".join(module) for module in group) + " import each other")
    rows = table()
    if "--check" in sys.argv[1:]:
        page = (REPOSITORY / "ARCHITECTURE.md").read_text("utf-8")
        for row in rows[2:]:
            name, _, others = (cell.strip() for cell in row.strip("|").split("|"))
            if not re.search(rf"^\| {re.escape(name)} \|.*\| {re.escape(others)} \|$", page, re.MULTILINE):
                wrong.append(f"ARCHITECTURE.md: the row of {name} must say what it may import: {others}")
    else:
        print("\n".join(rows))
    print("\n".join(wrong))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
