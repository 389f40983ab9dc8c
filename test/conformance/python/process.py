"""One execution: environment, working directory, payload, process group, output, result."""

import contextlib
import os
import re
import selectors
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass

# Every payload is the standard input of this program, and every name of a job's environment passes but the guarded ones.
COMMAND = ["bash", "-s"]
GUARDED = re.compile(r"LD_.*|PATH|BASH_ENV|ENV|IFS|NODE_OPTIONS|PYTHON.*|HORUS_.*")
KILL_GRACE_SECONDS = 5
PIPE_GRACE_SECONDS = 1
MAX_LINE_BYTES = 16 * 1024
MAX_RESULT_BYTES = 256 * 1024
LOOK_SECONDS = 0.02


@dataclass
class Outcome:
    """What a finish says. Code: the exit code, 128 + signal, -1 where nothing ran."""

    status: str
    code: int
    reason: str = ""
    is_retryable: bool = False
    result: bytes = b""


def unstarted(reason: str) -> Outcome:
    return Outcome("failed", -1, reason)


class Scratch:
    """A fresh directory of one attempt; the job works in `work`."""

    def __init__(self, parent: str):
        os.makedirs(parent, mode=0o700, exist_ok=True)
        self.path = tempfile.mkdtemp(prefix="job-", dir=parent)
        self.work, self.result = os.path.join(self.path, "work"), os.path.join(self.path, "result")
        os.mkdir(self.work)

    @contextlib.contextmanager
    def payload(self, payload: str):
        """Open for reading under a name that is gone already: never in argv, which `ps` shows to everybody."""
        path = os.path.join(self.path, "payload")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(payload.encode())
        with open(path, "rb") as file:
            os.unlink(path)
            yield file

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)


def environment_of(job: dict, attempt: int, scratch: Scratch):
    """Built from nothing. None and the names where one does not pass: running without it would be running something else."""
    asked = job.get("env_vars", {})
    refused = sorted(name for name in asked if GUARDED.fullmatch(name))
    if refused:
        return None, refused
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}
    environment.update(asked)
    if "traceparent" in job:
        environment["TRACEPARENT"] = job["traceparent"]
    environment.update(HORUS_JOB_ID=job["id"], HORUS_ATTEMPT=str(attempt), HORUS_RESULT=scratch.result)
    return environment, []


def execute(job: dict, hold, log, is_hurried, scratch: Scratch):
    """The outcome, or None where the runner itself ended the process (lease gone, drain): then nothing is handed in."""
    environment, refused = environment_of(job, hold.claimed.attempt, scratch)
    if environment is None:
        return unstarted(f"the executor does not let the environment through: {', '.join(refused)}")
    with scratch.payload(job["payload"]) as payload:
        # A session, and so a process group, of its own; nothing of ours stays open in it.
        settings = {"cwd": scratch.work, "env": environment, "start_new_session": True, "close_fds": True}
        try:
            process = subprocess.Popen(
                COMMAND, stdin=payload, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **settings
            )
        except (OSError, ValueError) as error:
            return Outcome("failed", -1, f"cannot start {COMMAND[0]}: {error}", is_retryable=True)
    reader = OutputReader(process, log)
    cause = watch(process, job, hold, is_hurried)
    code = process.wait()
    reader.finish()
    if cause in ("gone", "drain"):
        return None
    return judge(code, cause, job, read_result(scratch.result), log)


def watch(process, job: dict, hold, is_hurried):
    """Ends the process for the first reason that comes, and its group in any case."""
    deadline, cause, kill_at = time.monotonic() + job["timeout"], None, None
    while not has_exited(process.pid):
        if hold.is_gone():
            # Somebody else may run the job by now: at once, and no SIGTERM first.
            cause = cause or "gone"
            signal_group(process, signal.SIGKILL)
        elif cause is None:
            cause = why_now(deadline, hold, is_hurried)
            if cause is not None:
                kill_at = time.monotonic() + KILL_GRACE_SECONDS
                signal_group(process, signal.SIGTERM)
        elif time.monotonic() >= kill_at:
            signal_group(process, signal.SIGKILL)
        time.sleep(LOOK_SECONDS)
    # It is not waited for yet, so that the number of the group is surely still its own.
    signal_group(process, signal.SIGKILL)
    return cause


def why_now(deadline: float, hold, is_hurried):
    if time.monotonic() >= deadline:
        return "timeout"
    if hold.is_cancelled.is_set():
        return "cancel"
    return "drain" if is_hurried.is_set() else None


def has_exited(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def signal_group(process, number: int):
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def judge(code: int, cause, job: dict, result, log) -> Outcome:
    code = 128 - code if code < 0 else code
    if cause == "timeout":
        outcome = Outcome("timeout", code, f"timed out after {job['timeout']} s", is_retryable=True)
    elif cause == "cancel":
        outcome = Outcome("cancelled", code)
    elif code == 0:
        outcome = Outcome("completed", 0)
    else:
        outcome = Outcome("failed", code, f"exit code {code}", is_retryable=True)
    if isinstance(result, bytes):
        outcome.result = result
        return outcome
    log.note(result)
    return outcome if outcome.status in ("timeout", "cancelled") else Outcome("failed", code, result)


def read_result(path: str):
    """Its bytes, or in words why they are not taken. Neither a link nor a FIFO may lead or hold the runner."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return b""
    except OSError:
        return "the result is not a regular file that can be read"
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return "the result is not a regular file that can be read"
        data = file.read(MAX_RESULT_BYTES + 1)
    return data if len(data) <= MAX_RESULT_BYTES else f"result too large: more than {MAX_RESULT_BYTES} bytes"


class OutputReader:
    """Reads both pipes into the log. A full log holds the reader up, and so the job."""

    def __init__(self, process, log):
        self._log = log
        self._selector = selectors.DefaultSelector()
        for pipe, stream in ((process.stdout, "stdout"), (process.stderr, "stderr")):
            self._selector.register(pipe, selectors.EVENT_READ, LineSplitter(stream, log))
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def finish(self):
        """The process is gone: reads to the end, or, where something that escaped holds a pipe open, until it is quiet."""
        self._is_over.set()
        self._thread.join()

    def _run(self):
        quiet_since = time.monotonic()
        while self._selector.get_map():
            ready = self._selector.select(timeout=0.1)
            if ready or not self._is_over.is_set():
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > PIPE_GRACE_SECONDS:
                break
            for key, _ in ready:
                data = os.read(key.fd, 65_536)
                key.data.push(data)
                if data == b"":
                    self._selector.unregister(key.fileobj)
        for key in list((self._selector.get_map() or {}).values()):
            key.data.push(b"")
        self._selector.close()


class LineSplitter:
    """Cuts bytes into lines; one that is too long becomes several entries between two lines that say so."""

    def __init__(self, stream: str, log):
        self._stream, self._log = stream, log
        self._rest, self._given = b"", 0

    def push(self, data: bytes):
        """No bytes: the end."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._end_line(self._cut(line))
        self._rest = self._cut(self._rest)
        if data == b"" and (self._rest or self._given):
            self._end_line(self._rest)
            self._rest = b""

    def _cut(self, line: bytes) -> bytes:
        while len(line) > MAX_LINE_BYTES:
            end = MAX_LINE_BYTES
            while end > MAX_LINE_BYTES - 3 and line[end] & 0xC0 == 0x80:
                end -= 1
            if self._given == 0:
                self._log.note(f"{self._stream}: a line too long for one entry begins here")
            self._log.write(self._stream, line[:end])
            self._given, line = self._given + end, line[end:]
        return line

    def _end_line(self, line: bytes):
        if line or not self._given:
            self._log.write(self._stream, line)
        if self._given:
            self._log.note(f"{self._stream}: the line of {self._given + len(line)} bytes ends here")
        self._given = 0
