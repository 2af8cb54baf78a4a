"""`docs/fields.md`, written from the table. Run `python -m worldmodel.schema.document > docs/fields.md`."""

from __future__ import annotations

from collections.abc import Iterable

from worldmodel.schema.events import EVENTS
from worldmodel.schema.field import Buttons, Category, Codec, Field, Flags, Number, OutOfRange, Scope
from worldmodel.schema.layout import LAYOUT
from worldmodel.schema.sparse import SPARSE_TABLES

_SECTIONS = (
    (Scope.PLAYER, "State of a player", "Columns `p0.<name>` and `p1.<name>`."),
    (Scope.PAD, "Controller of a player", "Columns `p0.pad.<name>` and `p1.pad.<name>`."),
    (Scope.FRAME, "Frame", "Columns `<name>`."),
    (Scope.GAME, "Game", "Columns of the games table."),
)

_POLICY = {
    OutOfRange.OTHER: "others share the last code, *other*; counted by `worldmodel stats`",
    OutOfRange.REJECT: "others: the game is rejected",
}


def _codec(codec: Codec | None) -> str:
    if isinstance(codec, Number):
        parts = [f"number × {codec.scale:g}", f"prior: {codec.prior.value}"]
        if codec.bounds:
            parts.append(f"projected into {codec.bounds[0]:g} .. {codec.bounds[1]:g}, counted by `worldmodel stats`")
        if codec.integer:
            parts.append("whole")
        if codec.buckets:
            parts.append(f"also embedded, {codec.buckets} entries × {codec.bucket_dim} (the last: that or more)")
        if codec.noise:
            parts.append("the card's noise may touch it")
        return "; ".join(parts)
    if isinstance(codec, Category):
        fate = "predicted" if codec.predicted else "carried"
        return f"one of {codec.vocab}, embedded × {codec.dim}; {fate}; {_POLICY[codec.out_of_range]}"
    if isinstance(codec, Flags):
        named = ", ".join(f"{bit} {name}" for bit, name in enumerate(codec.names) if name)
        return f"{codec.bits} flag{'s' * (codec.bits > 1)}, set when {codec.true_when}" + (
            f" ({named})" if named else ""
        )
    if isinstance(codec, Buttons):
        return "buttons " + ", ".join(f"0x{mask:04x}" for mask in codec.masks)
    return "stored only"


def _source(row: Field) -> str:
    if row.derive:
        return f"derived: `{row.derive}`"
    return (
        ", else ".join(f"{wire.event.name.lower()} 0x{wire.offset:02x} {wire.type}" for wire in row.wire)
        or "game start"
    )


def _version(version: tuple[int, int, int]) -> str:
    return ".".join(map(str, version[:2]))


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    head = list(header)
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
    ]


def fields_document() -> str:
    """The whole of `docs/fields.md`."""
    lines = [
        "# Fields",
        "",
        "Generated from `worldmodel/schema/fields.py` by `python -m worldmodel.schema.document`;",
        "a test keeps it current.",
        f"Store hash `{LAYOUT.store_hash}`, codec hash `{LAYOUT.codec_hash}`.",
        "",
        "A replay that lacks a field (older Slippi) has no such column: missing is unknown, never zero.",
        "",
        "*drift* is the size of a typical error after a few frames of a rollout, in the field's unit: what",
        "`context_noise` adds to the frames that a model is shown in training. Without one it never touches a field.",
        "",
    ]
    for scope, title, columns in _SECTIONS:
        lines += [f"## {title}", "", columns, ""]
        lines += _table(
            ("field", "meaning", "unit", "type", "source", "since", "how a model sees it", "loss", "drift"),
            (
                (f"`{row.name}`", row.doc, row.unit, row.dtype, _source(row), _version(row.since), _codec(row.codec),
                 row.loss or "", f"{row.drift:g}" if row.drift else "")
                for row in LAYOUT.rows if row.scope is scope
            ),
        )  # fmt: skip
    lines += [
        "## Sparse tables",
        "",
        "What is there only on some frames: rows with their game and frame index `t`.",
        "",
    ]
    lines += _table(
        ("table", "since", "columns"),
        (
            (f"`{table.name}`", _version(table.since), ", ".join(f"`{c.name}` {c.dtype}" for c in table.columns))
            for table in SPARSE_TABLES
        ),
    )
    lines += [
        "## Events",
        "",
        "What may happen to a player from one row to the next; unknown where a replay lacks one of the fields.",
        "",
    ]
    lines += _table(
        ("event", "what happens", "from"),
        (
            (f"`{event.name}`", event.doc, ", ".join(f"`{LAYOUT.the(role).name}`" for role in event.needs))
            for event in EVENTS.values()
        ),
    )
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    print(fields_document(), end="")
