"""A field is one row of the schema: no other room names it."""

from __future__ import annotations

import ast
from pathlib import Path

import worldmodel
from worldmodel.schema import LAYOUT

PACKAGE = Path(worldmodel.__file__).parent

ALLOWED = ("schema/", "replays/synth/")
"""The table itself, and the generator that has to fill every field with something."""


def test_no_field_name_outside_the_schema() -> None:
    """Consumers select by role. A name that is also a role ("percent", "stocks") is that role; "p0.x" never is."""
    roles = {role for row in LAYOUT.rows for role in row.roles}
    names = {row.name for row in LAYOUT.rows} - roles - {"x", "y"}  # one letter names are everybody's
    columns = {column.name for column in LAYOUT.columns} - {row.name for row in LAYOUT.rows}
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        if place.startswith(ALLOWED):
            continue
        tree = ast.parse(path.read_text())
        docstrings = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:  # noqa: SIM102
                if node.value in names or node.value in columns:
                    wrong.append(f"{place}:{node.lineno}: {node.value!r}")
    assert not wrong, "\n".join(wrong)
