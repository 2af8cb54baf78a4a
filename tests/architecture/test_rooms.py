"""The house's rules: imports point downward, heavy and foreign packages stay behind their doors."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import worldmodel

PACKAGE = Path(worldmodel.__file__).parent

LEVELS = {
    "errors": -1,
    "melee": 0,
    "schema": 1, "runs": 1, "tracking": 1,
    "replays": 2, "launch": 2, "clips": 2,
    "dataset": 3,
    "nn": 4,
    "models": 5,
    "dynamics": 6,
    "evaluation": 7,
    "training": 8, "env": 8, "export": 8,
    "cards": 9,
    "web": 10, "bench": 10,
    "cli": 11,
}  # fmt: skip

NO_TORCH_BELOW = 4

DOORS = {
    "py7zr": {"replays/archive.py"},
    "onnx": {"export"},
    "onnxscript": {"export"},
    "onnxruntime": {"export"},
    "gymnasium": {"env"},
    "starlette": {"web"},
    "uvicorn": {"web"},
    "pettingzoo": {"env"},
    "peppi_py": set(),  # a test oracle, never the product's parser
    "wandb": {"tracking/wandb.py"},
    "modal": {"launch/modal.py", "scripts/modal_train.py"},
}
"""Third-party package -> files or rooms that may import it."""


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports_of(path: Path) -> list[tuple[int, str]]:
    """(line, dotted module) of every import in a file, wherever it stands."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; write the room's full name"
            found.append((node.lineno, node.module or ""))
            if node.module == "worldmodel":
                found += [(node.lineno, f"worldmodel.{alias.name}") for alias in node.names]
    return found


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_room_has_a_level() -> None:
    rooms = {room_of(path) for path in sources()} - {"__init__", "__main__", "experiments", "scripts"}
    assert rooms <= set(LEVELS), f"rooms without a level: {rooms - set(LEVELS)}"


def test_rooms_import_downward() -> None:
    wrong = []
    for path in sources():
        room = room_of(path)
        if room not in LEVELS:
            continue
        for line, module in imports_of(path):
            parts = module.split(".")
            if parts[0] != "worldmodel" or len(parts) < 2 or parts[1] == room or parts[1] not in LEVELS:
                continue
            if LEVELS[parts[1]] >= LEVELS[room]:
                wrong.append(f"{path.relative_to(PACKAGE)}:{line}: {room} imports {parts[1]}")
    assert not wrong, "\n".join(wrong)


def test_no_torch_in_low_rooms() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in sources()
        if LEVELS.get(room_of(path), 0) < NO_TORCH_BELOW
        for line, module in imports_of(path)
        if module.split(".")[0] in ("torch", "safetensors")
    ]
    assert not wrong, wrong


def test_third_parties_stay_behind_their_doors() -> None:
    wrong = []
    for path in sources():
        place = path.relative_to(PACKAGE).as_posix()
        for line, module in imports_of(path):
            allowed = DOORS.get(module.split(".")[0])
            if allowed is not None and place not in allowed and room_of(path) not in allowed:
                wrong.append(f"{place}:{line}: imports {module}")
    assert not wrong, "\n".join(wrong)


def test_only_ingest_sees_the_parser() -> None:
    """Training runs on machines without replays: in `dataset`, two files may import `replays`."""
    seen = {
        path.name
        for path in sources() if room_of(path) == "dataset"
        for _, module in imports_of(path) if module.startswith("worldmodel.replays")
    }  # fmt: skip
    assert seen <= {"ingest.py", "spread.py"}, seen


def test_no_module_is_too_long() -> None:
    long = {str(p.relative_to(PACKAGE)): n for p in sources() if (n := len(p.read_text().splitlines())) > 600}
    assert not long


@pytest.mark.parametrize(
    "statement", ["import worldmodel", "from worldmodel.cli import main", "import worldmodel.dataset"]
)
def test_import_is_light(statement: str) -> None:
    """The command line starts, and datasets open, without torch."""
    code = f"import sys\n{statement}\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
