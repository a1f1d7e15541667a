"""A ``python`` whose processes are forked from one that has imported the libraries: a stage starts in a moment.

What a process is stays as it is: a process of its own, with the caller's folder, environment, streams and exit status,
and it reads the project's modules itself. Only libraries are there already: PyTorch's alone take seconds of processor
time, and the pipelines that tests run start hundreds of processes. A module named in the variable ``FRESH`` is given to
the real interpreter, and so is all that is no ``python -m`` or has a ``PYTHONPATH``.

The file is three things: a fixture's helper (:func:`resident_python`), the process that forks (:func:`_serve`), and,
in :data:`_CLIENT`, the command that takes the place of ``python``. Nobody passes signals on: a test that stops or kills
what it started takes the real interpreter.
"""

from __future__ import annotations

import array
import atexit
import gc
import importlib
import json
import os
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LIBRARIES = (
    *("torch._inductor", "torch._dynamo"),  # PyTorch imports them to be deterministic
    *("safetensors.torch", "tokenizers", "pandas", "pyarrow.parquet", "scipy.stats", "ruamel.yaml", "yaml", "tqdm"),
    *("pydantic.main", "pydantic.functional_validators", "pydantic._internal._validators"),
    *("matplotlib.pyplot", "matplotlib.backends.backend_agg", "adjustText", "jinja2"),
    *("dvc._debug", "dvc.cli.parser", "dvc.repo.experiments.run", "dvc.repo.experiments.queue.workspace"),
    *("dvc.cachemgr", "dvc.data_cloud", "dvc.repo.graph", "dvc.repo.index", "dvc.repo.metrics.diff", "dvc.repo.plots"),
    *("dvc.repo.reproduce", "dvc.repo.stage", "dvc.repo.status", "dvc.repo.trie", "dvc.stage.cache"),
    *("dvc_data.fs", "dvc_data.hashfile.db.local", "dvc_data.hashfile.status", "dvc_render.html"),
    *("dulwich.ignore", "dulwich.index", "dulwich.worktree", "pygit2", "scmrepo.git", "scmrepo.fs"),
    *("flatten_dict", "fsspec.implementations.memory", "networkx", "platformdirs.unix", "rich.text"),
)
_CLIENT = """
import array, json, os, socket, sys
if sys.argv[1:2] != ["-m"] or "PYTHONPATH" in os.environ or sys.argv[2] in os.environ.get("FRESH", "").split():
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    words = json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]).encode()
    server.sendmsg([len(words).to_bytes(8)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
    server.sendall(words)
    status = server.recv(4)
sys.exit(int.from_bytes(status) if status else 1)
"""


@contextmanager
def resident_python(folder: Path) -> Iterator[Path]:
    """A folder, made in ``folder``, that holds a ``python`` for the front of ``PATH``, as long as the block lasts."""
    address = str(folder / "socket")
    client = folder / "client.py"
    client.write_text(_CLIENT.format(python=sys.executable, address=address))
    command = folder / "bin" / "python"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -IS {shlex.quote(str(client))} "$@"\n')
    command.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(16)
        listener.set_inheritable(True)
        server = subprocess.Popen(
            [sys.executable, __file__, str(listener.fileno())], pass_fds=[listener.fileno()], start_new_session=True
        )
    try:
        yield command.parent
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _serve(listener: socket.socket) -> tuple[list[str], str, dict[str, str], list[int]]:
    """Fork a process for each caller and tell it the exit status; returns in the forked ones what they are to run."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    callers: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([listener, woken], [], [])
        if woken in ready:
            os.read(woken, 512)
            while callers:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                with callers.pop(pid) as caller:
                    code = os.waitstatus_to_exitcode(status)
                    caller.sendall((code if code >= 0 else 128 - code).to_bytes(4))
        if listener in ready:
            caller, _ = listener.accept()
            request = _receive(caller)
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for each in (listener, caller, *callers.values()):
                    each.close()
                os.close(woken)
                os.close(wake)
                return request
            for stream in request[-1]:
                os.close(stream)
            callers[pid] = caller


def _receive(caller: socket.socket) -> tuple[list[str], str, dict[str, str], list[int]]:
    streams = array.array("i")
    size, passed, _, _ = caller.recvmsg(8, socket.CMSG_SPACE(3 * streams.itemsize))
    for _, _, data in passed:
        streams.frombytes(data)
    left, words = int.from_bytes(size), b""
    while len(words) < left:
        words += caller.recv(left - len(words))
    arguments, folder, environment = json.loads(words)
    return arguments, folder, environment, list(streams)


def _become(arguments: list[str], folder: str, environment: dict[str, str], streams: list[int]) -> int:
    """Run ``python -m`` with these ``arguments``; returns the exit status."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    sys.argv = ["-m", *arguments[1:]]
    sys.path[0] = folder
    gc.enable()
    try:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    gc.disable()
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()
    status = _become(*_serve(socket.socket(fileno=int(sys.argv[1]))))
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)
