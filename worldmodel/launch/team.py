"""Several processes that train one run together, begun and ended as one: what `torchrun` does on one machine.

    python -m worldmodel.launch.team N -- COMMAND ...

Owns: who is who (the environment variables that torch.distributed reads), handing on signals, and that nobody outlives
the others. Must not: train.

`torchrun` itself gives each process a session of its own, so that a kill of its parent leaves them on the devices.
Here all of them are one process group, which ends with whoever is killed. What the first of them died of is what this
process dies of: its exit code, or the same signal, so that who waits for it hears the true reason and not that of the
others, whose connection broke.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from types import FrameType

from worldmodel.errors import WrongUse

POLL_S = 0.1
ALONE_S = 10.0
"""How long the others may take to end by themselves when one has failed, and again when they were asked to."""
HANDED_ON = ("SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP")


def team_command(num: int, command: Sequence[str]) -> list[str]:
    """The command for `num` processes of a command; of one, the command itself."""
    if num == 1:
        return list(command)
    return [sys.executable, "-m", "worldmodel.launch.team", str(num), "--", *command]


def environment_of(rank: int, num: int, port: int, base: Mapping[str, str]) -> dict[str, str]:
    """What tells a process who it is. OMP_NUM_THREADS: 1 unless somebody said otherwise, as torchrun has it."""
    who = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": num, "LOCAL_WORLD_SIZE": num, "GROUP_RANK": 0}
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return {"OMP_NUM_THREADS": "1", **base, **{key: str(value) for key, value in who.items()}, **where}


def run_team(num: int, command: Sequence[str]) -> int:
    """Run it to its end. Returns the exit code of the first that failed, or minus the signal that killed it; 0 if none
    did."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    members: list[subprocess.Popen[bytes]] = []

    def hand_on(number: int, frame: FrameType | None) -> None:
        for member in members:
            if member.poll() is None:
                member.send_signal(number)

    for name in HANDED_ON:
        signal.signal(getattr(signal, name), hand_on)
    members += [subprocess.Popen(command, env=environment_of(rank, num, port, os.environ)) for rank in range(num)]
    failed_at, asked_at, code = None, None, 0
    while any(member.poll() is None for member in members):
        time.sleep(POLL_S)
        now = time.monotonic()
        if failed_at is None and (code := _first_failure(members)):
            failed_at = now
        if failed_at is not None and asked_at is None and now - failed_at > ALONE_S:
            asked_at = now
            hand_on(signal.SIGTERM, None)
        if asked_at is not None and now - asked_at > ALONE_S:
            for member in members:
                if member.poll() is None:
                    member.kill()
    return code or _first_failure(members)


def _first_failure(members: Sequence[subprocess.Popen[bytes]]) -> int:
    """Of those that have ended badly; a kill goes before an exit code, which may be what came of the kill."""
    codes = [member.returncode for member in members if member.poll() is not None]
    bad = [code for code in codes if code]
    if not bad:
        return 0
    worst = next((code for code in bad if code < 0), bad[0])
    rank = next(rank for rank, member in enumerate(members) if member.returncode == worst)
    if worst < 0:
        name = signal.Signals(-worst).name
        print(f"process {rank} of {len(members)} (from 0) was killed by {name}", file=sys.stderr, flush=True)
    return worst


def main(arguments: Sequence[str]) -> int:
    """The command line. Raises WrongUse."""
    if len(arguments) < 3 or not arguments[0].isdigit() or arguments[1] != "--":
        raise WrongUse(" ".join(arguments) or "nothing", "N -- COMMAND ...", "write: team 2 -- worldmodel train ...")
    code = run_team(int(arguments[0]), arguments[2:])
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
