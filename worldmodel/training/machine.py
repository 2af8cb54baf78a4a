"""What the machine does meanwhile: processors, memory, the GPU's own counters.

Owns: how these are read, and their names in pace.jsonl. Must not: end a run, or cost a step anything: what cannot be
had is left out, and said once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from statistics import fmean

import psutil
import torch

EVERY_S = 1.0
"""Between two looks at the GPU. One look tells about the last second or so, which after a row is never typical."""


class Machine:
    """From its making to `close`. Processors are counted by the system, the GPU is looked at by a thread.

    cpu_percent: of all cores together. process_cpu_percent: 100 is one core. host_memory_gb: resident, of this process;
    host_free_gb: what any process could have. Of a CUDA device besides, as means over the looks: gpu_percent (of the
    time in which it did anything at all), gpu_memory_gb (of all its processes), gpu_watts, gpu_celsius.
    """

    def __init__(self, device: torch.device, say: Callable[[str], None] = lambda text: None) -> None:
        self._process = psutil.Process()
        psutil.cpu_percent()
        self._process.cpu_percent()
        self._looks: list[dict[str, float]] = []
        self._closing = threading.Event()
        if device.type != "cuda":
            return
        try:
            self._looks.append(look_at(device))
        except Exception as error:  # noqa: BLE001  no library, no driver, no right to ask: many errors, one meaning
            say(f"the GPU's use is not recorded: {error} (pip install nvidia-ml-py)")
            return
        threading.Thread(target=self._go, args=(device,), name="machine", daemon=True).start()

    def read(self) -> dict[str, float]:
        """Since the last call."""
        looks, self._looks = self._looks, []
        out = {
            "cpu_percent": psutil.cpu_percent(),
            "process_cpu_percent": self._process.cpu_percent(),
            "host_memory_gb": self._process.memory_info().rss / 1e9,
            "host_free_gb": psutil.virtual_memory().available / 1e9,
        }
        return out | {name: round(fmean(look[name] for look in looks), 3) for name in (looks[0] if looks else ())}

    def close(self) -> None:
        """End the thread."""
        self._closing.set()

    def _go(self, device: torch.device) -> None:
        while not self._closing.wait(EVERY_S):
            try:
                self._looks.append(look_at(device))
            except Exception:  # noqa: BLE001  a driver that is just going; the run hears of it by its own next step
                return


def look_at(device: torch.device) -> dict[str, float]:
    """A GPU now, by NVML. Raises what torch does where that cannot be asked."""
    return {
        "gpu_percent": float(torch.cuda.utilization(device)),
        "gpu_memory_gb": torch.cuda.device_memory_used(device) / 1e9,
        "gpu_watts": torch.cuda.power_draw(device) / 1e3,
        "gpu_celsius": float(torch.cuda.temperature(device)),
    }
