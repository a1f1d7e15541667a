"""The processes that train one run together: who they are, how they start, and what they tell each other.

How many there are is said by the environment, never by the command, so that DVC knows a run by the same key however
many trained it: by ``STUDY_PROCESSES``, and the first process starts the others on this machine; or by ``torchrun``,
which starts all of them, on as many machines as it is told. Nothing here changes a bit of what is learned.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from lm.errors import StudyError
from lm.training.stopping import Interrupted

_SIZE, _RANK, _PORT = "STUDY_PROCESSES", "STUDY_PROCESS", "STUDY_PROCESSES_PORT"
_TORCHRUN = ("WORLD_SIZE", "RANK", "LOCAL_RANK")
_HERE = "127.0.0.1"
_BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
_PATIENCE = timedelta(days=1)
"""For a process that says nothing, as the first while it scores. One that has ended is noticed at once."""
_POLL_SECONDS = 0.05
_END_SECONDS = 30.0

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Place:
    """This process among those of its run, as the environment has it. ``local`` counts those of its machine."""

    rank: int = 0
    size: int = 1
    local: int = 0
    torchrun: bool = False

    @classmethod
    def of_environment(cls, shards: int) -> Place:
        """Raises :class:`StudyError` for a number of processes that a run of so many shards cannot have."""
        torchrun = all(name in os.environ for name in _TORCHRUN)
        size_name = _TORCHRUN[0] if torchrun else _SIZE
        size = _number(size_name, 1)
        if size > shards or size & (size - 1) or size < 1:
            raise StudyError(
                f"environment: {size_name}: {size} processes; allowed: a power of two, at most training.shards, "
                f"which is {shards} in this run's configuration"
            )
        rank_name = _TORCHRUN[1] if torchrun else _RANK
        rank = _number(rank_name, 0)
        if rank >= size:
            raise StudyError(f"environment: {rank_name}: {rank}; allowed: below {size}, the number of processes")
        return cls(rank=rank, size=size, local=_number(_TORCHRUN[2], 0) if torchrun else rank, torchrun=torchrun)

    @property
    def first(self) -> bool:
        return self.rank == 0

    def take_device(self, device: torch.device) -> None:
        """Make this process's GPU the current one; raises :class:`StudyError` where there are fewer than processes."""
        if device.type != "cuda" or self.size == 1:
            return
        if self.local >= torch.cuda.device_count():
            raise StudyError(
                f"environment: {self.size} processes need a GPU each; this machine has {torch.cuda.device_count()}"
            )
        torch.cuda.set_device(self.local)


def _number(name: str, default: int) -> int:
    said = os.environ.get(name, str(default))
    if not said.isascii() or not said.isdigit():
        raise StudyError(f"environment: {name}: '{said}'; allowed: a whole number")
    return int(said)


@dataclass(frozen=True, kw_only=True)
class Processes:
    """What is done in common. Each method is called by all processes at the same point; one alone waits for nobody."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def add_up(self, terms: Tensor) -> Tensor:
        """The sum of every process's ``terms``, of one shape and device, which are overwritten.

        It is pairwise in a fixed tree: first with the neighbour, then two by two, four by four. Both of a pair add the
        same two numbers, and a + b is b + a to the bit.
        """
        distance = 1
        while distance < self.size:
            other, received = self.rank ^ distance, torch.empty_like(terms)
            with self._all_needed():
                both = [dist.P2POp(dist.isend, terms, other), dist.P2POp(dist.irecv, received, other)]
                for work in dist.batch_isend_irecv(both):
                    work.wait()
            terms += received
            distance *= 2
        return terms

    def largest(self, number: int) -> int:
        """Of every process's number."""
        if self.size == 1:
            return number
        box = torch.tensor(number)
        with self._all_needed():
            dist.all_reduce(box, dist.ReduceOp.MAX)
        return int(box)

    def first_says(self, content: T) -> T:
        """The first process's ``content``, whatever the others gave."""
        if self.size == 1:
            return content
        box = [content]
        with self._all_needed():
            dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    @contextmanager
    def _all_needed(self) -> Iterator[None]:
        """Where another has ended, the first says so, and the others end without a word: it was not their doing."""
        try:
            yield
        except RuntimeError as error:
            if not self.first:
                raise SystemExit(1) from None
            raise StudyError(
                f"one of the run's {self.size} processes has ended ({str(error).splitlines()[0][:80]}); "
                "`dvc repro` goes on from the last checkpoint"
            ) from None


@contextmanager
def joined(place: Place, device: torch.device) -> Iterator[Processes]:
    """Meet the run's other processes, having started them unless ``torchrun`` has; part when all are done.

    Raises :class:`StudyError` when one of them ends before all have met.
    """
    if place.size == 1:
        yield Processes()
        return
    if not dist.is_available() or not dist.is_gloo_available():
        raise StudyError("this build of PyTorch has no gloo, by which several processes speak; allowed: one process")
    together, others = Processes(rank=place.rank, size=place.size), list[subprocess.Popen[bytes]]()
    try:
        store = None if place.torchrun else _meet(place, others)
        with together._all_needed():
            dist.init_process_group(
                _BACKENDS[device.type],
                store=store,
                rank=place.rank if store else -1,
                world_size=place.size if store else -1,
                timeout=_PATIENCE,
            )
        try:
            yield together
        except Interrupted:
            together.first_says(None)
            raise
        else:
            together.first_says(None)  # the first speaks last, and outlives it: nobody is left with half a message
    except BaseException:
        for each in others:
            with suppress(OSError):
                each.terminate()
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
        for each in others:
            _end(each)


def _meet(place: Place, others: list[subprocess.Popen[bytes]]) -> Any:
    """The store that the processes of this machine meet at; the first starts the others and waits for them."""
    if not place.first:
        store = dist.TCPStore(_HERE, _number(_PORT, 0), place.size, False, _PATIENCE)  # type: ignore[attr-defined]
        store.add("there", 1)
        return store
    store = dist.TCPStore(_HERE, 0, place.size, True, _PATIENCE, False)  # type: ignore[attr-defined]
    command = [sys.executable, "-m", "stages.train", *sys.argv[1:]]
    for rank in range(1, place.size):
        others.append(subprocess.Popen(command, env=os.environ | {_RANK: str(rank), _PORT: str(store.port)}))
    while store.add("there", 0) < len(others):
        for rank, each in enumerate(others, 1):
            if each.poll() is not None:
                raise StudyError(f"process {rank} of {place.size} ended at its start, with status {each.returncode}")
        time.sleep(_POLL_SECONDS)
    return store


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
