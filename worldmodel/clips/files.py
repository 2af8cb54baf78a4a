"""Clips on disk: compact JSON for the viewer, Arrow for programs. Both are read back exactly (`docs/clips.md`).

Owns: the two forms, and what is wrong with a file that is neither. Must not: know where clips come from.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from worldmodel.clips.clip import BY_NAME, COLUMNS, FPS, BadClip, Clip, Frames, Meta, dtype_of
from worldmodel.errors import WrongUse
from worldmodel.melee.characters import external_name
from worldmodel.melee.stages import stage_name
from worldmodel.runs.atomic import write_bytes

FORMAT = "worldmodel-clip"
VERSION = 1
MAX_BYTES = 1 << 30
"""More than a day of play; a file that is larger is no clip."""

_ARROW = b"ARROW1"
_ARROW_KEY = b"worldmodel_clip"
_TRUTH = "truth."

_Values = NDArray[Any]


def write_clip(clip: Clip, path: Path) -> None:
    """Write a clip, durably, in the form that the name asks for: .json or .arrow. Raises WrongUse for other names."""
    forms = {".json": clip_json, ".arrow": clip_arrow}
    if path.suffix.lower() not in forms:
        raise WrongUse(f"{path.name!r} for a clip", "a name that ends in .json or .arrow", "choose one of the two")
    write_bytes(path, forms[path.suffix.lower()](clip))


def read_clip(path: Path) -> Clip:
    """A clip that `write_clip` wrote; its first bytes say in which form. Raises WrongUse for anything else."""
    way_out = "give a clip as `worldmodel rollout` writes it"
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= MAX_BYTES else b""
    except OSError as error:
        raise WrongUse(f"{path}: {error.strerror or error}", "a clip", way_out) from error
    if size > MAX_BYTES:
        raise WrongUse(f"{path} has {size:,} bytes", f"a clip of at most {MAX_BYTES:,}", way_out)
    try:
        return _from_arrow(data) if data.startswith(_ARROW) else _from_json(data)
    except (BadClip, pa.ArrowException, UnicodeDecodeError, RecursionError, json.JSONDecodeError) as error:
        reason = str(error).strip().partition("\n")[0][:300]
        raise WrongUse(f"{path} is no clip: {reason}", "a clip", way_out) from error


# ---- what both forms say of a clip besides its frames ------------------------------------------------------------


def _head(clip: Clip) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "fps": FPS,
        "first_frame": clip.first_frame,
        "num_frames": len(clip.frames),
        "num_truth_frames": None if clip.truth is None else len(clip.truth),
        "stage": {"id": clip.stage, "name": stage_name(clip.stage)},
        "characters": [{"id": who, "name": external_name(who)} for who in clip.characters],
        "meta": asdict(clip.meta),
    }


_HEAD = ("format", "version", "fps", "first_frame", "num_frames", "num_truth_frames", "stage", "characters", "meta")


def _made(head: Any, frames: Frames, truth: Frames | None) -> Clip:
    """A clip from the head of a file, every value checked."""
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise BadClip(f"it does not say that its format is {FORMAT!r}")
    if head.get("version") != VERSION:
        raise BadClip(f"version {head.get('version')!r} of the format, this program reads {VERSION}")
    if set(head) != set(_HEAD):
        raise BadClip(f"{_listed(set(head) ^ set(_HEAD))} missing or unknown")
    if head["fps"] != FPS or type(head["fps"]) is not int:
        raise BadClip(f"{head['fps']!r} frames per second, expected {FPS}")
    for name, found in (("num_frames", len(frames)), ("num_truth_frames", None if truth is None else len(truth))):
        if head[name] != found or type(head[name]) is bool:
            raise BadClip(f"{name} says {head[name]!r}, and there are {found}")
    characters = head["characters"]
    if not isinstance(characters, list) or len(characters) != 2:
        raise BadClip("characters are not two")
    return Clip(
        stage=_named(head["stage"], "stage"),
        characters=(_named(characters[0], "character"), _named(characters[1], "character")),
        first_frame=_int(head["first_frame"], "first_frame"),
        frames=frames,
        meta=_meta(head["meta"]),
        truth=truth,
    )


def _named(value: Any, what: str) -> int:
    if not isinstance(value, dict) or set(value) != {"id", "name"} or not isinstance(value["name"], str):
        raise BadClip(f"the {what} is not an id and a name")
    return _int(value["id"], what)


def _int(value: Any, what: str) -> int:
    if type(value) is not int or not -(1 << 31) <= value < 1 << 31:
        raise BadClip(f"{what} is {_short(value)}, not a number of 32 bits")
    return value


def _meta(value: Any) -> Meta:
    names = [one.name for one in fields(Meta)]
    if not isinstance(value, dict) or set(value) != set(names):
        raise BadClip(f"meta is not made of {', '.join(names)}")
    hints = typing.get_type_hints(Meta)
    for name, found in value.items():
        hint = hints[name]
        allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (str,)
        number_ok = float in allowed and type(found) is int
        if type(found) not in allowed and not number_ok:
            raise BadClip(f"meta.{name} is {_short(found)}")
    return Meta(**value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _listed(names: Iterable[object]) -> str:
    """Some names, sorted; of a stranger's file they may be long and many."""
    found = sorted(_short(name) for name in names)
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")


# ---- JSON --------------------------------------------------------------------------------------------------------


def clip_json(clip: Clip) -> bytes:
    """Compact JSON: the head, then `columns` and `truth` by column name; null for what was not recorded."""
    parts = [json.dumps(_head(clip), separators=(",", ":"), ensure_ascii=False, allow_nan=False)[:-1]]
    parts.append(f'"columns":{_columns_json(clip.frames)}')
    parts.append(f'"truth":{"null" if clip.truth is None else _columns_json(clip.truth)}')
    return (",".join(parts) + "}").encode()


def _columns_json(frames: Frames) -> str:
    rows = []
    for column in COLUMNS:
        values = frames.columns.get(column.name)
        text = "null" if values is None else _values_json(values, frames.unknown.get(column.name))
        rows.append(f'"{column.name}":{text}')
    return "{" + ",\n".join(rows) + "}"


def _values_json(values: _Values, unknown: NDArray[np.bool_] | None) -> str:
    """Shortest decimals that are read back exactly, through the double precision of JSON's readers."""
    distinct, place = np.unique(values.view(f"u{values.itemsize}"), return_inverse=True)
    texts = np.array([_number_json(value) for value in distinct.view(values.dtype)], dtype=object)[place]
    if unknown is not None:
        texts[unknown] = "null"
    return "[" + ",".join(texts) + "]"


def _number_json(value: np.generic) -> str:
    if value.dtype.kind != "f":
        return str(int(value))
    text = str(value)
    if np.array(float(text), np.float32).tobytes() != value.tobytes():
        text = repr(float(value))
    # "-0" would be read as the integer 0.
    return text.removesuffix(".0") if text != "-0.0" else text


def _from_json(data: bytes) -> Clip:
    def refuse(name: str) -> Any:
        raise BadClip(f"it holds {name}")

    def no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            raise BadClip("a name stands there twice")
        return made

    value = json.loads(data.decode(), parse_constant=refuse, object_pairs_hook=no_twins)
    if not isinstance(value, dict) or not {"columns", "truth"} <= set(value):
        raise BadClip("it has no columns and truth")
    frames = _frames_of(value.pop("columns"))
    truth = value.pop("truth")
    return _made(value, frames, None if truth is None else _frames_of(truth))


def _frames_of(value: Any) -> Frames:
    if not isinstance(value, dict) or set(value) != set(BY_NAME):
        strange = set(value) ^ set(BY_NAME) if isinstance(value, dict) else {_short(value)}
        raise BadClip(f"columns {_listed(strange)} missing or unknown")
    columns, unknown = {}, {}
    for name, values in value.items():
        if values is None:
            continue
        if not isinstance(values, list):
            raise BadClip(f"{name} is {_short(values)}, not a list")
        missing = np.array([one is None for one in values], np.bool_)
        columns[name] = _checked(name, [0 if one is None else one for one in values])
        if missing.any():
            unknown[name] = missing
    return Frames(columns, unknown)


def _checked(name: str, values: list[Any]) -> _Values:
    """A column of a stranger's list, if its values fit the column's type."""
    dtype = dtype_of(BY_NAME[name])
    kinds = (int, float) if dtype.kind == "f" else (int,)
    for value in values:
        if type(value) not in kinds:
            raise BadClip(f"{name} holds {_short(value)}")
    if dtype.kind != "f":
        top = 1 if dtype.kind == "b" else np.iinfo(dtype).max
        low = 0 if dtype.kind == "b" else np.iinfo(dtype).min
        if values and not low <= min(values) <= max(values) <= top:
            raise BadClip(f"{name} holds {_short(max(values, key=abs))}, expected {low} to {top}")
        return np.array(values, dtype)
    try:
        with np.errstate(over="raise"):
            return np.array([float(value) for value in values], np.float64).astype(dtype)
    except (OverflowError, FloatingPointError) as error:
        raise BadClip(f"{name} holds a number past {np.finfo(np.float32).max:.3g}") from error


# ---- Arrow -------------------------------------------------------------------------------------------------------


def clip_arrow(clip: Clip) -> bytes:
    """An Arrow file: a column each, "truth." before the true ones, the head in the metadata. Null: not known."""
    arrays, names = [], []
    for prefix, frames in (("", clip.frames), (_TRUTH, clip.truth)):
        if frames is None:
            continue
        for column in COLUMNS:
            if column.name not in frames.columns:
                continue
            array = pa.array(frames.columns[column.name], mask=frames.unknown.get(column.name))
            fill = len(clip.frames) - len(frames)
            arrays.append(pa.concat_arrays([array, pa.nulls(fill, array.type)]) if fill else array)
            names.append(prefix + column.name)
    metadata = {_ARROW_KEY: json.dumps(_head(clip), allow_nan=False)}
    batch = pa.record_batch(arrays, schema=pa.schema(zip(names, (a.type for a in arrays), strict=True), metadata))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def _from_arrow(data: bytes) -> Clip:
    try:
        table = pa.ipc.open_file(pa.BufferReader(data)).read_all()
        table.validate(full=True)
    except OSError as error:  # Arrow's word for a file that is damaged, read from memory though it is
        raise BadClip(str(error)) from error
    head = json.loads((table.schema.metadata or {}).get(_ARROW_KEY, b"null"))
    num_truth = head.get("num_truth_frames") if isinstance(head, dict) else None
    columns = dict(zip(table.column_names, table.columns, strict=True))
    truth = {name.removeprefix(_TRUTH): values for name, values in columns.items() if name.startswith(_TRUTH)}
    if truth and (type(num_truth) is not int or not 0 <= num_truth <= table.num_rows):
        raise BadClip(f"num_truth_frames is {_short(num_truth)}")
    frames = _frames_from({name: values for name, values in columns.items() if not name.startswith(_TRUTH)})
    if num_truth is None:
        return _made(head, frames, None)
    return _made(head, frames, _frames_from({name: values[:num_truth] for name, values in truth.items()}))


def _frames_from(table: Mapping[str, pa.ChunkedArray]) -> Frames:
    columns, unknown = {}, {}
    for name, values in table.items():
        if name not in BY_NAME:
            raise BadClip(f"no column is named {name!r}")
        expected = pa.from_numpy_dtype(dtype_of(BY_NAME[name]))
        if values.type != expected:
            raise BadClip(f"{name} is {values.type}, expected {expected}")
        if values.null_count:
            unknown[name] = values.is_null().to_numpy()
            values = values.fill_null(pa.scalar(0, expected))
        columns[name] = np.ascontiguousarray(values.to_numpy())
    return Frames(columns, unknown)
