"""Strict YAML to frozen models: every wrong key or value is an error that says where it stands and what was meant.

Owns: reading YAML 1.2 with positions, dotted overrides, the shape of error messages, writing a model back as YAML.
Must not: know any particular key.

YAML 1.2 is read by the round-trip loader because it keeps line and column, reads `5e-4` as a number, and refuses
duplicate keys.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from worldmodel.errors import WrongUse


class Strict(BaseModel):
    """Base of every config model: unknown keys are errors, values are not coerced (an int may stand for a float)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True, allow_inf_nan=False)


class ConfigError(WrongUse):
    """A config that cannot be used. `problems` holds every one of them, in the order found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        first, rest = self.problems[0], self.problems[1:]
        more = f"; {len(rest)} more: " + "; ".join(p.found for p in rest) if rest else ""
        super().__init__(first.found, first.expected, first.way_out + more)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a config: what was found (and where), what was expected, the way out."""

    found: str
    expected: str
    way_out: str


Model = TypeVar("Model", bound=BaseModel)
Path_ = tuple[str | int, ...]


def load(path: Path, model: type[Model], *, overrides: Sequence[str] = ()) -> Model:
    """Read a YAML file as `model`, after `overrides` such as "training.lr=3e-4" (values are YAML too).

    Raises ConfigError (a WrongUse) for a missing file, bad YAML, duplicate or unknown keys, values of a wrong type.
    """
    return loads(_read(path), path, model, overrides=overrides)


def loads(text: str, path: Path, model: type[Model], *, overrides: Sequence[str] = ()) -> Model:
    """`load` of a text at hand; `path` is what errors call it. Raises ConfigError."""
    root = _parse(text, path)
    data = _plain(root)
    sources: dict[Path_, str] = {}
    for override in overrides:
        _override(data, override, sources)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_problems(error, model, data, root, path, sources)) from None


def values_of(overrides: Sequence[str]) -> dict[str, Any]:
    """What overrides such as "training.lr=3e-4" say, as nested mappings. Raises ConfigError."""
    data: dict[str, Any] = {}
    for override in overrides:
        _override(data, override, {})
    return data


def position(text: str, path: Path, keys: Sequence[str | int]) -> str:
    """ "file:line:col" of a key, or of as much of it as there is. Raises ConfigError for what is not YAML."""
    return _where(tuple(keys), _parse(text, path), path, {})


def dump(model: BaseModel) -> str:
    """A model as YAML with every default written out. `load` reads it back to an equal model."""
    out = io.StringIO()
    yaml = YAML(pure=True)
    yaml.default_flow_style = False
    yaml.dump(model.model_dump(mode="json"), out)
    return out.getvalue()


def digest(model: BaseModel) -> str:
    """Short hash of a model's values, whatever the order and the comments of the file that they came from."""
    text = json.dumps(model.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys. Lists are values."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    return {
        key: leaf for name, part in value.items() for key, leaf in flat(part, f"{prefix}.{name}".lstrip(".")).items()
    }


# ---- reading ---------------------------------------------------------------------------------------------------


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError([Problem(f"no file {path}", "a YAML config", "check the path")]) from None
    except IsADirectoryError:
        raise ConfigError([Problem(f"{path} is a folder", "a YAML config", "name the file in it")]) from None
    except UnicodeDecodeError as error:
        found = f"{path}: byte {error.start} is not UTF-8"
        raise ConfigError([Problem(found, "a YAML config in UTF-8", "check that it is a text file")]) from None


def _parse(text: str, path: Path) -> CommentedMap:
    try:
        root = YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        # The loader's sentence on duplicates goes on with both values, however long they are.
        problem = (error.problem or error.context or "not YAML").split("\n")[0].split(" with value ")[0]
        way_out = "remove one of the two" if "duplicate" in problem else "mend the line"
        raise ConfigError([Problem(f"{where}: {problem}", "YAML 1.2 with every key once", way_out)]) from None
    except YAMLError as error:
        found = f"{path}: {str(error).splitlines()[0]}"
        raise ConfigError([Problem(found, "one YAML 1.2 document", "mend the file")]) from None
    if root is None:
        return CommentedMap()
    if not isinstance(root, CommentedMap):
        found = f"{path}:1:1: a {type(root).__name__.removeprefix('Commented').lower()} at the top"
        raise ConfigError([Problem(found, "keys and values", "start with a line such as 'model:'")])
    return root


def _plain(node: Any) -> Any:
    """The loader's types, which remember how they were written, as the plain types that validation knows."""
    if isinstance(node, CommentedMap):
        return {key: _plain(value) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        return [_plain(value) for value in node]
    for plain in (bool, int, float, str):
        if isinstance(node, plain):
            return plain(node)
    return node


def _override(data: dict[str, Any], override: str, sources: dict[Path_, str]) -> None:
    key, equals, text = override.partition("=")
    parts = tuple(key.strip().split("."))
    if not equals or not all(parts):
        problem = Problem(f"override {override!r}", "key=value with dots, as training.lr=3e-4", "add the '='")
        raise ConfigError([problem])
    try:
        value = _plain(YAML(typ="rt", pure=True).load(text))
    except YAMLError:
        problem = Problem(f"override {override!r}: cannot read {text!r}", "a YAML value", "quote it")
        raise ConfigError([problem]) from None
    node = data
    for depth, part in enumerate(parts[:-1], start=1):
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            inner = ".".join(parts[:depth])
            problem = Problem(f"override {override!r}: {inner} is a value", "a section", "drop what follows it")
            raise ConfigError([problem])
    node[parts[-1]] = value
    sources[parts] = override


# ---- errors ----------------------------------------------------------------------------------------------------


def _problems(
    error: ValidationError,
    model: type[BaseModel],
    data: dict[str, Any],
    root: CommentedMap,
    path: Path,
    sources: Mapping[Path_, str],
) -> list[Problem]:
    out = []
    for item in error.errors():
        keys, owner = _resolve(model, item["loc"], data)
        where = _where(keys, root, path, sources)
        name = ".".join(map(str, keys)) or "the config"
        section = ".".join(map(str, keys[:-1])) or "the top level"
        if item["type"] == "extra_forbidden":
            known = sorted(owner.model_fields) if owner else []
            near = difflib.get_close_matches(str(keys[-1]), known, 1)
            out.append(
                Problem(
                    f"{where}: {name}: unknown key",
                    f"a key of {section} ({', '.join(known)})",
                    f"did you mean {near[0]!r}?" if near else "remove it",
                )
            )
        elif item["type"] == "missing":
            out.append(Problem(f"{where}: {name}: missing", "a value", f"add it to {section}"))
        elif item["type"].startswith("union_tag"):
            context = item.get("ctx", {})
            tag_key = str(context.get("discriminator", "'arch'")).strip("'")
            expected = str(context.get("expected_tags", "one of the known"))
            got = context.get("tag")
            tags = [tag.strip(" '") for tag in expected.split(",")]
            near = difflib.get_close_matches(str(got), tags, 1) if got else []
            out.append(
                Problem(
                    f"{_where((*keys, tag_key), root, path, sources)}: {name}.{tag_key}: "
                    + (f"unknown value {got!r}" if got is not None else "missing"),
                    f"one of {expected}",
                    f"did you mean {near[0]!r}?" if near else f"set {name}.{tag_key}",
                )
            )
        else:
            message = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
            shown = f" {item['input']!r}" if not isinstance(item["input"], dict | list) else ""
            out.append(Problem(f"{where}: {name}: wrong value{shown}", message, f"change {name}"))
    return out


def _resolve(model: type[BaseModel], loc: Path_, data: Any) -> tuple[Path_, type[BaseModel] | None]:
    """A validation error's location as keys of the file, and the model that owns the last of them.

    Locations hold the tag of a union beside the keys; a file does not.
    """
    keys: list[str | int] = []
    owner: type[BaseModel] | None = model
    annotation: Any = model
    for index, part in enumerate(loc):
        if isinstance(part, int):
            keys.append(part)
            annotation = (get_args(annotation) or (None,))[0]
            continue
        members = _models_in(annotation)
        tagged = [m for m in members if part in _tags(m)]
        is_last = index == len(loc) - 1
        if len(members) > 1 and tagged and not is_last:
            annotation = tagged[0]
            continue
        owner = members[0] if len(members) == 1 else None
        keys.append(part)
        field = owner.model_fields.get(str(part)) if owner else None
        annotation = field.annotation if field else None
    return tuple(keys), owner


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, types.UnionType):
        return [model for part in get_args(annotation) for model in _models_in(part)]
    if hasattr(annotation, "__metadata__"):
        return _models_in(get_args(annotation)[0])
    return []


def _tags(model: type[BaseModel]) -> tuple[str, ...]:
    """Values of the model's literal fields: what a discriminated union may call it."""
    return tuple(
        value
        for field in model.model_fields.values()
        if get_origin(field.annotation) is Literal
        for value in get_args(field.annotation)
    )


def _where(keys: Path_, root: CommentedMap, path: Path, sources: Mapping[Path_, str]) -> str:
    for length in range(len(keys), 0, -1):
        if keys[:length] in sources:
            return f"override {sources[keys[:length]]!r}"
    line, column = 0, 0
    node: Any = root
    for key in keys:
        if isinstance(node, CommentedMap) and key in node:
            # A key that came by a merge ("<<") has no position of its own: the position so far stands.
            if key in (node.lc.data or {}):
                line, column = node.lc.key(key)
        elif isinstance(node, CommentedSeq) and isinstance(key, int) and key < len(node):
            line, column = node.lc.item(key)
        else:
            break
        node = node[key]
    return f"{path}:{line + 1}:{column + 1}"
