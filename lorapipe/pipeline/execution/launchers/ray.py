"""Workers on a running Ray cluster: one actor for each GPU, which keeps its base model between stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorapipe.errors import InputError
from lorapipe.pipeline.execution.launchers._subprocess import SideJobsLauncher
from lorapipe.pipeline.execution.pool import Slot
from lorapipe.pipeline.execution.shared_folder import SharedFolderWorker
from lorapipe.spec import param


@dataclass(frozen=True)
class Ray(SideJobsLauncher):
    """Workers on a running Ray cluster. The project folder must be on a disk that its machines share."""

    address: str = param("auto", "where the cluster is: auto (the one this machine belongs to) or ray://host:10001")
    workers: int = param(2, "largest number of workers; each waits until the cluster has room", ge=1, le=1000)
    gpus: float = param(1.0, "GPUs of a worker", ge=0, le=16)
    cpus: float = param(1.0, "CPU cores of a worker", ge=0, le=256)

    def slots(self, devices: Sequence[str]) -> list[Slot]:
        try:
            import ray
        except ImportError:
            raise InputError("ray is not installed.", cure="pip install 'lorapipe[ray]'") from None
        if not ray.is_initialized():
            try:
                ray.init(address=self.address, log_to_driver=False, logging_level="error")
            except ConnectionError as error:
                what = f"there is no Ray cluster: {str(error).splitlines()[0]}"
                raise InputError(what, cure="Start one (`ray start --head`), or say where it is.") from None
        there = [Slot(RayWorker(self), device) for _ in range(self.workers) for device in devices]
        return [*self.side_slots(), *there]


class Actor:
    """The actor: a process on the cluster that keeps its model cache."""

    def __init__(self) -> None:
        from lorapipe.pipeline.context import ModelCache

        self._warm = ModelCache.of_worker()

    def perform(self, folder: str) -> None:
        """Run the job in a folder."""
        from lorapipe.pipeline.execution.shared_folder import perform_in

        perform_in(folder, self._warm)


class RayWorker(SharedFolderWorker):
    """Runs jobs on an actor, which starts with the first job, and again after it was lost."""

    def __init__(self, launcher: Ray) -> None:
        super().__init__()
        self._launcher = launcher
        self._actor: Any = None
        self._call: Any = None

    def launch(self, folder: Path) -> None:
        import ray

        if self._actor is None:
            wanted = self._launcher
            self._actor = ray.remote(Actor).options(num_gpus=wanted.gpus, num_cpus=wanted.cpus, max_restarts=0).remote()
        self._call = self._actor.perform.remote(str(folder))

    def is_alive(self) -> bool:
        import ray

        finished, _ = ray.wait([self._call], timeout=0)
        return not finished

    def kill(self) -> None:
        import ray

        actor, self._actor = self._actor, None
        if actor is not None:
            ray.kill(actor)

    @property
    def is_warm(self) -> bool:
        """Whether the actor was started."""
        return self._actor is not None
