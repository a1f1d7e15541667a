"""One command of a launch, watched over: its log, its orderly end, and no process of it left behind.

``python -m lm.launch.runner`` stands between an engine's worker and DVC, because neither stops a run in order by
itself: DVC dies of SIGTERM and leaves the training process alone, and a worker that is killed takes nobody with it.

* The command runs in a process group of its own. To stop it, all that it has started gets SIGINT, now or as soon as it
  starts: training saves a checkpoint and ends, and DVC then gives back its locks. DVC itself gets none: it might be
  writing just then. SIGTERM, which schedulers send to every process, is ignored by
  DVC alone; training has its own handler for it.
* With ``--lifeline`` the runner leaves its parent's process tree and reads its orders from standard input: ``stop``,
  ``kill``, or the end of the stream, which says that whoever started it is gone: then it stops the command as well. Its
  own exit status goes to standard output, one line. Without, it obeys signals, as a scheduler sends them.
* The log is locked (``flock``) and the lock is inherited by everything that writes to the log: a second runner of the
  same run waits until no process of the first is left, whatever became of that one's parents.

Only the standard library is imported before there is something to stop: a runner takes about 10 MiB and starts at once.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import IO

GRACE_SECONDS = 120.0
"""How long a command may take to stop in order, scoring a validation split included, before it is killed."""
BUSY = 75
"""Exit status (EX_TEMPFAIL) where processes of an earlier runner hold the log and do not let go."""
NO_LOCK = 71
"""Exit status (EX_OSERR) where the log lies on a disk that knows no locks."""
STOPPED = 130
"""Exit status of a command that was stopped on request."""

_ENVIRONMENT = {"GIT_OPTIONAL_LOCKS": "0"}
"""One run's `git status` must not hold git's index while another's DVC stages its lock there, and fails if it does."""
_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_PR_SET_CHILD_SUBREAPER = 36  # of linux/prctl.h
_TICK = 0.1


class Runner:
    """Runs one command to its end, or stops it.

    Parameters: the command; the log that takes its output (None: standard error); seconds that it may take to stop;
    seconds to wait for processes of an earlier runner with the same log; cores that it is kept to (None: all).
    """

    def __init__(
        self,
        command: list[str],
        log: Path | None,
        grace: float = GRACE_SECONDS,
        wait: float = GRACE_SECONDS,
        cores: set[int] | None = None,
    ) -> None:
        self.command, self.log, self.grace, self.wait, self.cores = command, log, grace, wait, cores
        self._orders: list[str] = []

    def order(self, what: str) -> None:
        """``stop`` in order; a second ``stop``, or ``kill``, at once."""
        self._orders.append("kill" if what == "kill" or self._orders else "stop")

    def run(self, lifeline: int | None = None) -> int:
        """The command's exit status; 130 where it was stopped, 75 where the log stayed locked, 71 where none can be."""
        output = self._open_log()
        if isinstance(output, int):
            return output
        with output:
            if self._orders:
                return STOPPED
            print(f"== {time.strftime('%F %T')} {socket.gethostname()}: {' '.join(self.command)}", file=output)
            output.flush()
            process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=self._settle_child,
                env=os.environ | _ENVIRONMENT,
            )
            return self._watch(process, lifeline)

    def _open_log(self) -> IO[str] | int:
        """The log, locked, or the status to end with."""
        if self.log is None:
            return os.fdopen(os.dup(sys.stderr.fileno()), "w")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        output = self.log.open("a")
        deadline = time.monotonic() + self.wait
        while True:
            try:
                fcntl.flock(output, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return output
            except BlockingIOError:
                if time.monotonic() > deadline or self._orders:
                    output.close()
                    return BUSY
                time.sleep(_TICK)
            except OSError as error:
                with output:
                    print(f"error: {self.log}: cannot be locked ({error.strerror}); runs need flock", file=output)
                return NO_LOCK

    def _settle_child(self) -> None:
        # signals: what a scheduler sends to all processes is meant for training; DVC has to outlive it
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if self.cores:
            os.sched_setaffinity(0, self.cores)

    def _watch(self, process: subprocess.Popen[bytes], lifeline: int | None) -> int:
        group, deadline, given = process.pid, float("inf"), 0
        interrupted = {process.pid}
        while True:
            alive = process.poll() is None
            if not alive and (not self._orders or not _reap(group)):
                break
            if lifeline is not None and not self._listen(lifeline):
                lifeline = None
            if len(self._orders) > given:
                given = len(self._orders)
                deadline = 0.0 if self._orders[-1] == "kill" else time.monotonic() + self.grace
            if time.monotonic() > deadline:
                _kill_group(group)
            elif given:
                interrupted |= _interrupt_group(group, interrupted)
            if lifeline is None:
                time.sleep(_TICK)
        return STOPPED if self._orders and process.returncode else _shell_status(process.returncode)

    def _listen(self, lifeline: int) -> bool:
        """Take an order, if there is one; False once nobody is left to give any."""
        if not select.select([lifeline], [], [], _TICK)[0]:
            return True
        received = os.read(lifeline, 1024)
        for line in received.decode().split() or ["stop"]:
            self.order(line)
        return bool(received)


def _reap(group: int) -> bool:
    """Whether a process of the group is left; those that ended are collected, as their parent has gone."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _interrupt_group(group: int, already: set[int]) -> set[int]:
    """Send SIGINT to the group's processes, less those that have had it; the numbers of those that got it now."""
    import psutil  # here, so that a runner that stops nothing stays small

    found = set()
    for number in set(psutil.pids()) - already:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(number) == group:
                os.kill(number, signal.SIGINT)
                found.add(number)
    return found


def _shell_status(status: int) -> int:
    return 128 - status if status < 0 else status


def _adopt_orphans() -> None:
    """Become the parent of grandchildren whose parents end; where the kernel cannot, init takes them."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _leave_parent() -> None:
    """Go on as a process that is no child of the one that started this: engines kill their workers' children."""
    if os.fork():
        os._exit(0)
    os.setsid()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lm.launch.runner", description="One command of a launch.")
    parser.add_argument("--log", type=Path, help="file that takes the output (default: standard error)")
    parser.add_argument("--grace", type=float, default=GRACE_SECONDS, help="seconds to stop in (default: %(default)s)")
    parser.add_argument(
        "--wait", type=float, default=GRACE_SECONDS, help="seconds to wait for an earlier runner (default: %(default)s)"
    )
    parser.add_argument("--cores", help="cores to keep to, separated by commas (default: all)")
    parser.add_argument("--lifeline", action="store_true", help="take orders from standard input")
    parser.add_argument("command", nargs="+", help="after --")
    arguments = parser.parse_args()

    if arguments.lifeline:
        _leave_parent()
    _adopt_orphans()
    cores = {int(core) for core in arguments.cores.split(",")} if arguments.cores else None
    runner = Runner(arguments.command, arguments.log, arguments.grace, arguments.wait, cores)

    def obey(number: int, _frame: FrameType | None) -> None:
        if not arguments.lifeline or number == signal.SIGTERM:
            runner.order("stop")

    for number in _STOPPING:
        signal.signal(number, obey)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # Ray's workers have SIGINT blocked, and so would all below them
    if not arguments.lifeline:
        sys.exit(runner.run())
    status = runner.run(sys.stdin.fileno())
    with contextlib.suppress(OSError):
        print(status, flush=True)


if __name__ == "__main__":
    main()
