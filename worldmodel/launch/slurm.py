"""A Slurm cluster, through submitit: the supervisor is the job.

Owns: the door to submitit (extra `slurm`), and what a job does when Slurm takes its machine away. Must not: look after
the run itself (`supervisor` does, in the job).

The run folder must lie where both the submitting machine and the cluster's see it. Before its time limit, or when it is
pre-empted, a job gets a signal: the worker saves and leaves, the job is queued again, and goes on from there.

WORLDMODEL_SLURM: words for sbatch, as "slurm_partition=gpu,gpus_per_node=1,timeout_min=1440". With "cluster=local"
submitit needs no cluster: that is how this file is tested.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from worldmodel.errors import WrongUse
from worldmodel.launch.base import Order, Poll, read_care, write_order
from worldmodel.launch.local import Local, stop_processes
from worldmodel.launch.supervisor import supervise
from worldmodel.runs.folder import RunFolder
from worldmodel.runs.process import is_alive

SETTINGS = "WORLDMODEL_SLURM"
_CLUSTER = "slurm"
_submitted: dict[str, Any] = {}
"""Jobs of this process: submitit's executor without a cluster knows its own children only."""
atexit.register(_submitted.clear)  # they must go before the modules that their end calls
_WAITING = ("PENDING", "REQUEUED", "CONFIGURING")
_RUNNING = ("RUNNING", "COMPLETING", "SUSPENDED")


class Job:
    """What submitit runs on the cluster: it is pickled, so it holds nothing but a path."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self) -> int:
        """Look after the run until it has ended for good."""
        return supervise(Path(self.path))

    def checkpoint(self, *arguments: Any, **more: Any) -> Any:
        """Slurm is about to take the machine: the worker saves and leaves, and the same job is queued again."""
        worker = read_care(RunFolder(Path(self.path))).get("worker")
        if worker and is_alive(worker):
            os.kill(int(worker["pid"]), signal.SIGTERM)
            while is_alive(worker):
                time.sleep(0.2)
        return _submitit().helpers.DelayedSubmission(self)


class Slurm:
    """The contract of `base.Backend`, on a cluster."""

    name = "slurm"

    def submit(self, run: RunFolder, order: Order) -> Order:
        """Queue the job. Raises WrongUse without submitit, or for settings that it does not know."""
        cluster, settings = _settings(os.environ.get(SETTINGS, ""))
        folder = run.path.resolve() / "slurm"
        try:
            executor = _submitit().AutoExecutor(folder=folder, cluster=cluster)
            executor.update_parameters(name=run.id, **settings)
        except (TypeError, ValueError, NameError, RuntimeError) as error:
            raise WrongUse(f"{SETTINGS}: {error}", "words that submitit knows", "mend it, or unset it") from None
        write_order(run, order)
        run.stop.unlink(missing_ok=True)
        job = executor.submit(Job(str(run.path.resolve())))
        where = {"id": str(job.job_id), "folder": str(folder), "cluster": cluster or _CLUSTER}
        _submitted[where["id"]] = job
        order = order.model_copy(update={"job": where})
        write_order(run, order)
        return order

    def poll(self, run: RunFolder, order: Order) -> Poll:
        """By what Slurm says of the job; without a cluster, by its processes."""
        if order.job["cluster"] != _CLUSTER and order.job["id"] not in _submitted:
            return Local().poll(run, order)
        state = str(self._job(order).state).upper()
        if state in _WAITING:
            return Poll("waiting", state)
        if state in _RUNNING:
            return Poll("running", state)
        return Poll("unknown" if state == "UNKNOWN" else "over", state)

    def logs(self, run: RunFolder, order: Order) -> list[Path]:
        """The job's own files, and the worker's."""
        paths = self._job(order).paths
        return [Path(paths.stderr), Path(paths.stdout), run.out, run.err]

    def stop(self, run: RunFolder, order: Order, *, wait_s: float) -> str:
        """Cancel the job, after the worker had time to save; Slurm's own SIGTERM reaches it through the supervisor."""
        run.stop.touch()
        job_id = order.job["id"]
        if order.job["cluster"] != _CLUSTER:
            return stop_processes(run, wait_s=wait_s)
        asked = subprocess.run(
            ["scancel", "--signal=TERM", "--full", job_id], capture_output=True, text=True, check=False
        )
        if asked.returncode:
            return f"scancel failed: {asked.stderr.strip()}"
        until = time.monotonic() + wait_s
        while self.poll(run, order).state in ("running", "waiting"):
            if time.monotonic() > until:
                self._job(order).cancel()
                return f"did not leave within {wait_s:g} s and was cancelled"
            time.sleep(2)
        return "stopped"

    def describe(self, order: Order) -> str:
        """Which job."""
        return f"slurm job {order.job.get('id', '(not submitted)')}"

    def _job(self, order: Order) -> Any:
        if (job := _submitted.get(order.job["id"])) is not None:
            return job
        submitit = _submitit()
        kind = submitit.SlurmJob if order.job["cluster"] == _CLUSTER else submitit.LocalJob
        return kind(folder=order.job["folder"], job_id=order.job["id"])


def _settings(text: str) -> tuple[str | None, dict[str, Any]]:
    """(cluster, settings) of "key=value,key=value"; numbers are numbers."""
    settings: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise WrongUse(f"{SETTINGS}: {part!r}", "key=value", "write it like partition=gpu")
        settings[key.strip()] = int(value) if value.strip().isdigit() else value.strip()
    return settings.pop("cluster", None), settings


def _submitit() -> Any:
    try:
        import submitit
    except ImportError:
        raise WrongUse("the slurm backend without submitit", "the extra", "pip install 'worldmodel[slurm]'") from None
    return submitit
