"""Refuses patterns of English that readers stumble over, in docstrings, comments and documents; `make lint` runs it.

    python tests/prose.py [PATH…]

CONTRIBUTING.md, "How we write", says what to write instead.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PLACES = ("keras_segattn", "tests", "benchmarks", "tutorials", "docs", *(path.name for path in ROOT.glob("*.md")))

# What an argument's description may not begin with: it begins with a noun ("Number of …"), a literal or "whether".
NO_NOUN = re.compile(
    r"(of|as|what|where|when|how|which|who|that|those|this|these|its|their|for|from|by|at|in|on|to|with|without|until|up|"
    r"the same|both|so many|such|likewise|go|add|give|take|make|use|draw|show|one by one)\b",
    re.IGNORECASE,
)
# What a docstring's first sentence may not begin with: it is a full sentence, a noun with its verb, or an imperative.
NO_SENTENCE = re.compile(
    r"(of|as (many|much)|where|how|which|that of|those of|the same|the other's|both|likewise|"
    r"into|by|at|from|for|with|to)\b",
    re.IGNORECASE,
)
NO_COMMENT = re.compile(r"# (Of|What|Where|That of|Those of|Into|How|As many)\b")
COUNTED = (
    r"images?|pictures?|examples?|sentences?|labels?|names?|rows?|words?|tokens?|pixels?|steps?|updates?|epochs?|"
    r"numbers?|values?|scores?|points?|box(es)?|regions?|units?|bytes|parameters|weights?|ms|milliseconds|seconds?|s|"
    r"hours?|minutes?|cores?|one|two|three|four|five|six|ten|sums?|times?|once|twice|products?|means?|vectors?|entr(y|ies)|"
    r"files?|lines?|processes|process|builders?|kernels?|maps?|class(es)?|objects?|masks?|logits?|probabilit(y|ies)|"
    r"indices|index|\d[\d.,]*"
)
PER = (
    r"batch|image|picture|class|pixel|step|update|epoch|sentence|word|token|channel|second|minute|hour|day|example|paper|row|"
    r"model|replica|module|task|card|architecture|line|file|request|box|region|anchor|layer|position|place|sample|builder|"
    r"cell|column|worker|feature|filter|head|scale|level|proposal|object|character|letter|signature|version|form|call"
)
ANYWHERE = {
    re.compile(rf"(?<![-\w])({COUNTED}) an? ({PER})\b(?! (of|that|which|is|has|to|in|with|at|by|for|and)\b)"): (
        "write 'per' for a rate"
    ),
    re.compile(r"(?<=[.;:] )(That|Those) of\b"): "name what is meant instead of 'that of'",
    re.compile(r"\bhead starts?\b", re.IGNORECASE): "say what begins earlier or faster",
    re.compile(r"\blandmarks?\b", re.IGNORECASE): "say which layers are meant",
    re.compile(r"\btrunks?\b", re.IGNORECASE): "write 'backbone', as the code does",
    re.compile(r"\bsomebody's\b", re.IGNORECASE): "say whose",
    re.compile(r"\b(is|are|was|were) worth\b"): "say what was measured",
    re.compile(r"\baffairs?\b"): "say what is done, and by which part",
    re.compile(r"\bthe house\b(?! number)", re.IGNORECASE): "write 'the package'",
}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
ARGUMENTS = re.compile(r"^(Args|Arguments|Call arguments|Attributes|Inputs):$")
CHECKED_DOCSTRINGS = ROOT / "keras_segattn"
# A summary of fewer words says nothing that the name does not.
FEWEST_WORDS = 3


def in_docstring(text: str) -> Iterator[tuple[int, str]]:
    """Line (from 0) and complaint for everything refused in a docstring."""
    lines = text.splitlines()
    summary = text.split("\n\n", maxsplit=1)[0].strip()
    if NO_SENTENCE.match(summary):
        yield 0, f"begin with an imperative or a full sentence: {lines[0].strip()!r}"
    if len(summary.split()) < FEWEST_WORDS:
        yield 0, f"say more than {summary!r}"
    inside = False
    for number, line in enumerate(lines):
        stripped = line.strip()
        if ARGUMENTS.match(stripped):
            inside, indentation = True, len(line) - len(line.lstrip())
        elif inside and stripped and len(line) - len(line.lstrip()) <= indentation:
            inside = False
        described = re.match(r"\s*\**[\w/, *`]+(?: \(.*?\))?: (.*)$", line) if inside else None
        if described and NO_NOUN.match(described[1]):
            yield number, f"begin an argument's description with a noun: {stripped!r}"


def anywhere(text: str) -> Iterator[tuple[int, str]]:
    """Line (from 0) and complaint for what is refused wherever people read."""
    for pattern, advice in ANYWHERE.items():
        for found in pattern.finditer(text):
            yield text.count("\n", 0, found.start()), f"{advice}: {found[0]!r}"


def in_python(path: Path) -> Iterator[tuple[int, str]]:
    """Line (from 1) and complaint for a module's docstrings, comments and messages."""
    source = path.read_text(encoding="utf-8")
    documentation = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED) and node.body and isinstance(node.body[0], ast.Expr):
            constant = node.body[0].value
            if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
                documentation.add(id(constant))
                checks = (in_docstring, anywhere) if path.is_relative_to(CHECKED_DOCSTRINGS) else (anywhere,)
                yield from ((constant.lineno + line, what) for check in checks for line, what in check(constant.value))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield from ((node.lineno, what) for _, what in anywhere(node.value))  # messages and help
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if NO_COMMENT.match(token.string):
                yield token.start[0], f"begin a comment with its subject or verb: {token.string!r}"
            yield from ((token.start[0], what) for _, what in anywhere(token.string))


def in_document(path: Path) -> Iterator[tuple[int, str]]:
    """Line (from 1) and complaint for a document."""
    yield from ((line + 1, what) for line, what in anywhere(path.read_text(encoding="utf-8")))


def files(places: list[str]) -> Iterator[Path]:
    """The Python files and documents at some places."""
    for place in places:
        path = (ROOT / place).resolve()
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (one for one in found if one.suffix in (".py", ".md") and one != Path(__file__).resolve())


def main(places: list[str]) -> int:
    """Print what is refused; 1 if anything is."""
    complaints = set()
    for path in files(places or list(PLACES)):
        check = in_python if path.suffix == ".py" else in_document
        complaints |= {(str(path.relative_to(ROOT)), line, what) for line, what in check(path)}
    for path, line, what in sorted(complaints):
        sys.stdout.write(f"{path}:{line}: {what}\n")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
