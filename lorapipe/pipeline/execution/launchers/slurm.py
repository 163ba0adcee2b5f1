"""Jobs of a Slurm cluster, through submitit: each stage that needs a GPU is one job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lorapipe.errors import InputError
from lorapipe.pipeline.execution.launchers._subprocess import SideJobsLauncher
from lorapipe.pipeline.execution.pool import Slot
from lorapipe.pipeline.execution.shared_folder import SharedFolderWorker, perform_in
from lorapipe.spec import param


@dataclass(frozen=True)
class Slurm(SideJobsLauncher):
    """Jobs of a Slurm cluster. The project folder and this Python must be on a disk that its machines share."""

    partition: str = param("", "the partition (queue); empty: the cluster's default")
    gpus: int = param(1, "GPUs of a job", ge=0, le=16)
    cpus: int = param(4, "CPU cores of a job", ge=1, le=256)
    memory_gb: float = param(32.0, "main memory of a job in GB", gt=0)
    hours: float = param(24.0, "time limit of a job in hours", gt=0, le=24 * 30)
    jobs: int = param(8, "how many jobs may wait or run at the same time", ge=1, le=1000)
    cluster: Literal["slurm", "local"] = param(
        "slurm", "local: run the jobs on this machine, to try it without a cluster"
    )

    def slots(self, devices: Sequence[str]) -> list[Slot]:
        try:
            import submitit  # noqa: F401
        except ImportError:
            raise InputError("submitit is not installed.", cure="pip install 'lorapipe[slurm]'") from None
        there = [Slot(SlurmJob(self), device) for _ in range(self.jobs) for device in devices]
        return [*self.side_slots(), *there]


class SlurmJob(SharedFolderWorker):
    """Submits every lorapipe job as a Slurm job of its own; no process stays warm."""

    def __init__(self, launcher: Slurm) -> None:
        super().__init__()
        self._launcher = launcher
        self._job: Any = None

    def launch(self, folder: Path) -> None:
        import submitit

        wanted = self._launcher
        executor = submitit.AutoExecutor(folder=str(folder), cluster=wanted.cluster)
        executor.update_parameters(
            name=f"lorapipe-{folder.stem[:8]}",
            timeout_min=max(1, round(wanted.hours * 60)),
            mem_gb=wanted.memory_gb,
            cpus_per_task=wanted.cpus,
            gpus_per_node=wanted.gpus,
            **({"slurm_partition": wanted.partition} if wanted.partition else {}),
        )
        self._job = executor.submit(perform_in, str(folder))

    def is_alive(self) -> bool:
        return self._job is not None and not self._job.done()

    def kill(self) -> None:
        job, self._job = self._job, None
        if job is not None:
            job.cancel()

    @property
    def is_warm(self) -> bool:
        """False."""
        return False
