"""A child process tree that cannot outlive its owner, whatever way the owner dies.

`GuardedProcess` starts this file as a supervisor in a session of its own (a Ctrl-C at the terminal
does not reach it), and the supervisor starts the command. The supervisor's stdin is a pipe held
open by the owner: when the owner dies, even by SIGKILL, it reads end-of-file and takes the whole
tree down. As a child subreaper it inherits every descendant that loses its parent, so a process
that left the group or the session is found too. The tree has a temporary folder of its own (TMPDIR)
for its sockets, which goes with it, and so does the shared memory that a killed process leaves.
Standard library only in the supervisor; Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import Popen
from types import TracebackType
from typing import IO

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_SHM = Path("/dev/shm")
_REMEMBER = b"r"
_AFTERWARDS_S = 15.0
_KILL_MARGIN_S = 40.0  # what the owner allows beyond the grace before it stops waiting


class GuardedProcess:
    """A command under a supervisor: started on entry, its whole tree gone after exit.

    `env` is the complete environment; `log_path` receives stdout and stderr of the tree.
    `grace_s` is the time between SIGTERM to the command's group and SIGKILL to what is left.
    `cores` are those that the tree may run on; () leaves it where its owner runs. `afterwards` is
    a command that the supervisor runs once the tree is gone, however its owner ended: what removes
    a container whose daemon is no part of the tree.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        log_path: Path,
        grace_s: float = 10.0,
        cores: Sequence[int] = (),
        afterwards: Sequence[str] = (),
    ) -> None:
        self.argv = tuple(argv)
        self.grace_s = grace_s
        where = ",".join(map(str, cores))
        from bench.values import scratch  # not above: the supervisor has no packages

        self._scratch = scratch.engine_folder()
        own = {"TMPDIR": str(self._scratch), "TORCHINDUCTOR_CACHE_DIR": compiled(env)}
        # -I -S: the supervisor needs the standard library alone and starts in 20 ms.
        command = [sys.executable, "-I", "-S", __file__, str(grace_s), where, str(self._scratch)]
        owed = json.dumps(list(afterwards), allow_nan=False)
        try:
            with _log(log_path) as log:
                self._guard = _started([*command, owed, *self.argv], {**env, **own}, log)
        except BaseException:
            shutil.rmtree(self._scratch, ignore_errors=True)
            raise
        scratch.sign(self._scratch, self._guard.pid)
        assert self._guard.stdout is not None
        with self._guard.stdout as pids:
            self.pid = int(pids.readline() or 0)

    @property
    def guard_pid(self) -> int:
        """The supervisor's process id."""
        return self._guard.pid

    def poll(self) -> int | None:
        """The command's exit code once its whole tree is gone, 128 + N for signal N; else None."""
        return self._guard.poll()

    def remember(self) -> None:
        """Have the shared memory noted that the tree has mapped by now."""
        assert self._guard.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._guard.stdin.write(_REMEMBER)
            self._guard.stdin.flush()

    def stop(self) -> int:
        """End the tree and return the command's exit code; safe to call twice."""
        assert self._guard.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._guard.stdin.close()
        try:
            code = self._guard.wait(self.grace_s + _KILL_MARGIN_S)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            code = self._guard.wait()
        if code < 0:  # the supervisor itself was killed: nobody has swept up
            _kill_session(self._guard.pid)
            shutil.rmtree(self._scratch, ignore_errors=True)
            code = 128 - code
        return code

    def __enter__(self) -> GuardedProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


_LIMITS = {
    errno.EMFILE: "ulimit -n",
    errno.ENFILE: "the system's open files, fs.file-max",
    errno.EAGAIN: "ulimit -u",
    errno.ENOMEM: "ulimit -v, or want of memory",
}
"""By the kernel's error, the limit that a process could not be started for."""


def _log(path: Path) -> IO[bytes]:
    """The log, opened; StoreError where it cannot be."""
    try:
        return path.open("ab")
    except OSError as error:
        from bench.values.errors import StoreError

        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise StoreError(f"cannot write {path}: {error.strerror or error}.", full=full) from error


def _started(command: Sequence[str], env: Mapping[str, str], log: IO[bytes]) -> Popen[bytes]:
    """The supervisor's process; EngineError, with the limit that was hit where it was one."""
    try:
        return Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=env,
            start_new_session=True,
            bufsize=0,
        )
    except OSError as error:
        from bench.values.errors import EngineError

        limit = _LIMITS.get(error.errno or 0)
        hint = f" ({limit})" if limit else ""
        raise EngineError(
            f"the engine cannot be started: {error.strerror or error}{hint}.",
            code="engine_failed",
        ) from error


def compiled(env: Mapping[str, str]) -> str:
    """Where compiled kernels are kept: below the usual temporary folder, not below the tree's."""
    usual = f"torchinductor_{env.get('USER') or os.getuid()}"
    return env.get("TORCHINDUCTOR_CACHE_DIR") or str(Path(env.get("TMPDIR", "/tmp")) / usual)


def _kill_session(session: int) -> None:
    """SIGKILL every process of a session; its id cannot be reused while one of them lives."""
    for pid, (_, member_of) in _processes().items():
        if member_of == session:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _processes() -> dict[int, tuple[int, int]]:
    """(parent, session) of every process that /proc shows, zombies included."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # gone since the listing
                # The command's name is in parentheses and may hold spaces: split after it.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                found[int(entry.name)] = (int(fields[1]), int(fields[3]))
    return found


def _descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in _processes().items():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def shared_by(pids: Sequence[int]) -> dict[str, int]:
    """Name and inode of each file in /dev/shm that one of these processes has mapped."""
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines():
                fields = line.split(None, 5)
                if len(fields) == 6 and fields[5].startswith(f"{_SHM}/"):
                    found[fields[5].removeprefix(f"{_SHM}/")] = int(fields[4])
    return found


def forget_shared(noted: Mapping[str, int]) -> list[str]:
    """Remove those that are still there, are the same, and are mapped by nobody; their names."""
    held = shared_by(list(_processes()))
    removed = []
    for name, inode in noted.items():
        with contextlib.suppress(OSError):
            if "/" not in name and name not in held and (_SHM / name).stat().st_ino == inode:
                (_SHM / name).unlink()
                removed.append(name)
    return removed


class _Supervisor:
    """The supervisor's side: one command, its exit code, and everything descended from it."""

    def __init__(
        self, argv: Sequence[str], grace_s: float, scratch: Path, afterwards: Sequence[str]
    ) -> None:
        self.afterwards = afterwards
        self.grace_s = grace_s
        self.scratch = scratch
        self.shared: dict[str, int] = {}
        self.code: int | None = None
        self.owner = os.getppid()
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.wakeup, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self.asked_to_stop = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._ask_to_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # A scheduler's warning to a whole job is for the owner; inherited by the command.
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        self.child = self._start(argv)

    def _ask_to_stop(self, *_: object) -> None:
        self.asked_to_stop = True

    def _start(self, argv: Sequence[str]) -> int:
        guard = os.getpid()
        child = os.fork()
        if child:
            with contextlib.suppress(OSError):  # the child does it too; whoever comes first
                os.setpgid(child, child)
            return child
        try:
            os.setpgid(0, 0)
            # The death of the supervisor kills the command even when it ignores SIGTERM.
            self.libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != guard:
                os._exit(1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(2, 1)
            os.execvp(argv[0], list(argv))
        except OSError as error:
            os.write(2, f"guard: cannot start {argv[0]}: {error.strerror}\n".encode())
        finally:
            os._exit(127)

    def run(self) -> int:
        """Wait for the command to end or the owner to go, clean up, return the exit code."""
        while self.code is None and not self._owner_is_gone():
            # The timeout covers an owner whose forked children still hold the pipe open.
            ready, _, _ = select.select([0, self.wakeup], [], [], 1.0)
            if self.wakeup in ready:
                os.read(self.wakeup, 4096)
            if 0 in ready:
                if not os.read(0, 4096):
                    break
                self._remember()
            self._reap()
        self._remember()
        self._end_tree()
        self._clean_up()
        forget_shared(self.shared)
        shutil.rmtree(self.scratch, ignore_errors=True)
        return 1 if self.code is None else self.code

    def _clean_up(self) -> None:
        """Run the command that is owed to the world outside of the tree; its word is in the log."""
        if not self.afterwards:
            return
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                self.afterwards,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                timeout=_AFTERWARDS_S,
                check=False,
            )

    def _remember(self) -> None:
        """Note the shared memory of the tree, for after its death; on disk for after one's own."""
        self.shared.update(shared_by(_descendants(os.getpid())))
        with contextlib.suppress(OSError):
            (self.scratch / "shared.json").write_text(json.dumps(self.shared, allow_nan=False))

    def _owner_is_gone(self) -> bool:
        return self.asked_to_stop or os.getppid() != self.owner

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self.child:
                    code = os.waitstatus_to_exitcode(status)
                    self.code = code if code >= 0 else 128 - code

    def _end_tree(self) -> None:
        """SIGTERM to the group, the grace, then SIGKILL to every descendant until none is left."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.child, signal.SIGTERM)
        deadline = time.monotonic() + self.grace_s
        while True:
            self._reap()
            left = _descendants(os.getpid())
            if not left:
                return
            if time.monotonic() >= deadline:
                for pid in left:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)


def main() -> int:
    """`guard.py GRACE_S CORES SCRATCH AFTERWARDS COMMAND…`: prints a pid, returns its exit code."""
    if sys.argv[2]:
        os.sched_setaffinity(0, set(map(int, sys.argv[2].split(","))))
    supervisor = _Supervisor(
        sys.argv[5:], float(sys.argv[1]), Path(sys.argv[3]), json.loads(sys.argv[4])
    )
    os.write(1, f"{supervisor.child}\n".encode())
    os.dup2(2, 1)
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main())
