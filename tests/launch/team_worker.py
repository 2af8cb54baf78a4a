"""A member of a team without torch: says who it is, and does what its arguments say."""

WORKER = """
import os, signal, sys, time
from pathlib import Path
folder, mode = Path(sys.argv[1]), sys.argv[2]
rank = int(os.environ["RANK"])
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1) if mode != "deaf" else None)
(folder / f"rank{rank}").write_text(f"{os.getpid()} {os.environ['WORLD_SIZE']} {os.environ['MASTER_PORT']}")
if mode == "fails" and rank == 1:
    sys.exit(7)
if mode == "short":
    sys.exit(0)
while not stop:
    time.sleep(0.02)
sys.exit(3)
"""
