"""docs/fields.md says what the table says."""

from pathlib import Path

from worldmodel.schema.document import fields_document

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "fields.md"


def test_fields_document_is_current() -> None:
    assert DOCUMENT.read_text() == fields_document(), "run: python -m worldmodel.schema.document > docs/fields.md"


def test_stage_out_of_range_is_said() -> None:
    assert "| `stage` |" in fields_document()
