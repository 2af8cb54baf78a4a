"""What people wrote stays, byte for byte; what does not pair up is an error that says where."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from worldmodel.runs.document import BadDocument, Document, marked
from worldmodel.runs.strict import ConfigError, Strict

TEXT = """\
---
# who are we
run: one   # a name

goal: {a: 1, b: [2, 3]}
reviews:
- by: A
  comment: |
    two
    lines
# about the data
data:
  hash: "00"
---
# One

Prose with <!-- worldmodel:data --> in a line.

<!-- worldmodel:data -->
| a |
<!-- /worldmodel:data -->

```markdown
<!-- worldmodel:data -->
```

<!-- worldmodel:cost -->
<!-- /worldmodel:cost -->
The end without a newline"""


class Front(Strict):
    run: str
    count: int = 1
    tags: list[str] = Field(default_factory=list)


def parse(text: str) -> Document:
    return Document.parse(text, Path("card.md"))


def test_blocks_are_found_and_code_is_prose() -> None:
    document = parse(TEXT)
    assert list(document.blocks) == ["data", "cost"]
    assert document.block("data") == "| a |\n"
    assert document.block("cost") == ""


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_block_changes_and_nothing_else(newline: str) -> None:
    text = TEXT.replace("\n", newline)
    changed = parse(text).with_blocks({"cost": "| b |\n| c |", "data": ""})
    want = TEXT.replace("| a |\n", "").replace("<!-- worldmodel:cost -->\n", "<!-- worldmodel:cost -->\n| b |\n| c |\n")
    assert changed.text == want.replace("\n", newline)
    assert parse(changed.text).block("cost") == "| b |\n| c |\n"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_key_changes_and_nothing_else(newline: str) -> None:
    changed = parse(TEXT.replace("\n", newline)).with_key("reviews", [{"by": "B: #1", "at": "2026-01-01T00:00:00"}])
    old = "reviews:\n- by: A\n  comment: |\n    two\n    lines\n"
    new = "reviews:\n- by: 'B: #1'\n  at: '2026-01-01T00:00:00'\n"
    assert changed.text == TEXT.replace(old, new).replace("\n", newline)


def test_a_new_key_comes_last() -> None:
    changed = parse("---\nrun: a\n# last words\n---\nprose").with_key("count", 3)
    assert changed.text == "---\nrun: a\n# last words\ncount: 3\n---\nprose"
    assert changed.load(Front).count == 3


def test_empty_front_matter() -> None:
    assert parse("---\n---\n").with_key("run", "a").text == "---\nrun: a\n---\n"


def test_errors_of_the_front_matter_have_the_files_lines() -> None:
    with pytest.raises(ConfigError, match=r"card\.md:3:1: cuont: unknown key.*did you mean 'count'"):
        parse("---\nrun: a\ncuont: 2\n---\n").load(Front)
    assert parse("---\nrun: a\ntags:\n  - x\n  - y\n---\n").position("tags", 1) == "card.md:5:5"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("# no front matter\n", r"card\.md:1:1: no front matter"),
        ("", r"card\.md:1:1: no front matter"),
        ("---\nrun: a\n", "without an end"),
        ("---\n---\n<!-- worldmodel:a -->\n", r"card\.md:3:1: block a without an end"),
        ("---\n---\n\n<!-- /worldmodel:a -->\n", r"card\.md:4:1: the end of block a"),
        ("---\n---\n<!-- worldmodel:a -->\n<!-- worldmodel:b -->\n", r"card\.md:4:1: block b inside a"),
        ("---\n---\n<!-- worldmodel:a -->\n<!-- /worldmodel:b -->\n", r"card\.md:4:1: the end of block b"),
        ("---\n---\n" + 2 * marked("a", "x"), r"card\.md:6:1: block a a second time"),
    ],
)
def test_what_does_not_pair_up_says_where(text: str, where: str) -> None:
    with pytest.raises(BadDocument, match=where):
        parse(text)


def test_files_keep_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "card.md"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode() + b"\r\n\x0c tail")
    before = path.read_bytes()
    Document.read(path).write()
    assert path.read_bytes() == before
    assert Document.read(path).position("run") == f"{path}:3:1"


_PROSE = st.text(st.characters(codec="utf-8", exclude_characters="<`~\r"), max_size=60)


@given(st.lists(st.tuples(_PROSE, _PROSE), max_size=4), _PROSE, st.sampled_from(["", "\n"]))
def test_any_prose_survives(parts: list[tuple[str, str]], tail: str, end: str) -> None:
    """Whatever is written between blocks comes out as it went in, and so does what is in the other blocks."""
    text = "---\nrun: a\n---\n"
    for number, (prose, content) in enumerate(parts):
        text += f"{prose}\n<!-- worldmodel:b{number} -->\n{content}\n<!-- /worldmodel:b{number} -->\n"
    text += tail + end
    document = parse(text)
    assert len(document.blocks) == len(parts)
    same = document.with_blocks({})
    assert same.text == text
    if parts:
        changed = document.with_blocks({"b0": "new"})
        first = parts[0]
        assert changed.text == text.replace(
            f"{first[0]}\n<!-- worldmodel:b0 -->\n{first[1]}\n<!-- /",
            f"{first[0]}\n<!-- worldmodel:b0 -->\nnew\n<!-- /",
            1,
        )
    assert document.with_key("reviews", []).body == document.body
