"""The runner's own look at a claimed job, by what it was given itself: nothing that stands in Redis is believed."""

import json
import os
import re
import threading
import time
from dataclasses import dataclass

from signing import KEY, SIGNATURE, Refused, canonical_text, digest, parse_canonical, signing_input, verify

SKEW_SECONDS = 30
MOST_DOCUMENT_BYTES = 16 * 2**20
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
JOB_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def text(pattern=None, most=None):
    def is_text(value):
        fits = isinstance(value, str) and (most is None or len(value.encode("utf-16-le")) // 2 <= most)
        return fits and (pattern is None or pattern.fullmatch(value) is not None)

    return is_text


def whole(least=0, most=2**53 - 1):
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def is_environment(value):
    return (
        isinstance(value, dict)
        and len(value) <= 64
        and all(ENV_NAME.fullmatch(name) and isinstance(each, str) for name, each in value.items())
    )


# Members are exact: a member that is not here makes it another document. False: may be left out.
JOB = {
    "v": (True, whole(1, 1)),
    "aud": (True, text(KEY)),
    "id": (True, text(JOB_ID)),
    "caller_id": (True, text(KEY)),
    "context_id": (False, text(most=128)),
    "runner": (True, text(NAME)),
    "executor": (False, text(NAME)),
    "payload": (True, text()),
    "env_vars": (False, is_environment),
    "timeout": (True, whole(1, 86_400)),
    "max_attempts": (False, whole(1, 20)),
    "on_loss": (False, lambda value: value in ("retry", "fail")),
    "priority": (False, whole(0, 9)),
    "not_before": (False, whole()),
    "traceparent": (False, text(TRACEPARENT)),
    "created_at": (True, whole()),
    "expires_at": (True, whole()),
}
TICKET = {
    "v": (True, whole(1, 1)),
    "aud": (True, text(KEY)),
    "job": (True, text(re.compile(r"[0-9a-f]{64}"))),
    "id": (True, text(JOB_ID)),
    "queue": (True, text(NAME)),
    "iat": (True, whole()),
    "exp": (True, whole()),
}
SIGNED = {
    "body": (True, lambda value: has_members(value, TICKET)),
    "public_key": (True, text(KEY)),
    "signature": (True, text(SIGNATURE)),
}
SIGNATURE_ENTRY = {"public_key": (True, text(KEY)), "signature": (True, text(SIGNATURE))}


def has_members(value, members) -> bool:
    if not isinstance(value, dict) or not value.keys() <= members.keys():
        return False
    return all(is_good(value[name]) if name in value else not needed for name, (needed, is_good) in members.items())


@dataclass(frozen=True)
class Trust:
    """What this runner was given: the pinned supervisor, its own name and groups, whose jobs it runs."""

    supervisor: str
    queues: tuple
    allowed: frozenset


@dataclass(frozen=True)
class Claimed:
    """A job as it stands in the store. Id, attempt and token are the fence."""

    id: str
    attempt: int
    token: str
    is_cancelling: bool
    queue: str
    document: bytes
    signatures: bytes
    ticket: bytes


def read_job(claimed: Claimed):
    """Document and digest, of which a receipt can speak, good or not. Raises Refused where it is not the claimed job."""
    if len(claimed.document) > MOST_DOCUMENT_BYTES:
        raise Refused("the document is too large")
    job = parse_canonical(claimed.document)
    if not has_members(job, JOB):
        raise Refused("the document is not a job")
    if job["id"] != claimed.id:
        raise Refused("the document is another job's")
    return job, digest(signing_input("job", claimed.document))


def check_job(claimed: Claimed, job: dict, job_digest: str, trust: Trust):
    """Raises Refused unless everything is good but perhaps the time."""
    if job["aud"] != trust.supervisor:
        raise Refused("it is for another supervisor")
    if claimed.queue != job["runner"]:
        raise Refused("it was found in a queue it does not belong to")
    if job["runner"] not in trust.queues:
        raise Refused("it is for a queue that is not this runner's")
    if job["caller_id"] not in trust.allowed:
        raise Refused("its caller is not on the allow-list")
    check_signatures(claimed, job)
    check_ticket(claimed, job, job_digest, trust)


def check_signatures(claimed: Claimed, job: dict):
    """Every one of them: one bad one refuses the job."""
    entries = parse(claimed.signatures)
    if not isinstance(entries, list) or not 1 <= len(entries) <= 16:
        raise Refused("its signatures are malformed")
    if not all(has_members(entry, SIGNATURE_ENTRY) for entry in entries):
        raise Refused("a signature is malformed")
    keys = {entry["public_key"] for entry in entries}
    if len(keys) != len(entries):
        raise Refused("a key signed it twice")
    if job["caller_id"] not in keys:
        raise Refused("its caller did not sign it")
    data = signing_input("job", claimed.document)
    for entry in entries:
        if not verify(entry["public_key"], entry["signature"], data):
            raise Refused(f"the signature by {entry['public_key']} is not good")


def check_ticket(claimed: Claimed, job: dict, job_digest: str, trust: Trust):
    """The pinned supervisor says that it admitted exactly this job to exactly this queue."""
    ticket = parse(claimed.ticket)
    if not has_members(ticket, SIGNED):
        raise Refused("its ticket is malformed")
    body = ticket["body"]
    if ticket["public_key"] != trust.supervisor or body["aud"] != trust.supervisor:
        raise Refused("its ticket is by another supervisor")
    if not verify(trust.supervisor, ticket["signature"], signing_input("ticket", canonical_text(body).encode())):
        raise Refused("the signature of its ticket is not good")
    if body["job"] != job_digest or body["id"] != job["id"] or body["exp"] != job["expires_at"]:
        raise Refused("its ticket is another job's")
    if body["queue"] != job["runner"]:
        raise Refused("its ticket is for another queue")


def is_untimely(job: dict) -> bool:
    """Not its time by this machine's clock, though by that of Redis, which let it out: one of the two is wrong."""
    now = int(time.time())
    return now > job["expires_at"] + SKEW_SECONDS or now < job.get("not_before", 0) - SKEW_SECONDS


def parse(data: bytes):
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


class SeenJobs:
    """What was run, on disk, so that who can write to Redis can not have it run again: a JSON line for each step."""

    def __init__(self, path: str):
        self._lock = threading.Lock()
        self._jobs = {}
        if os.path.exists(path):
            with open(path, encoding="ascii") as file:
                # What a crash cut off behind the last newline never started.
                for line in file.read().split("\n")[:-1]:
                    self._note(json.loads(line))
        self._jobs = {id: seen for id, seen in self._jobs.items() if seen["exp"] > time.time() - 3600}
        temporary = path + ".new"
        with open(temporary, "w", encoding="ascii") as file:
            file.writelines(json.dumps(seen) + "\n" for seen in self._jobs.values())
        os.replace(temporary, path)
        self._file = open(path, "a", encoding="ascii")

    def _note(self, seen: dict):
        self._jobs[seen["id"]] = seen

    def recall(self, id: str, attempt: int):
        """"finished", "begun", or None where this attempt may run."""
        seen = self._jobs.get(id)
        if seen is None:
            return None
        if seen["accepted"]:
            return "finished"
        return "begun" if attempt <= seen["attempt"] else None

    def remember(self, claimed: Claimed, job: dict, accepted: bool):
        """On disk before anything follows from it."""
        seen = {"id": claimed.id, "attempt": claimed.attempt, "exp": job["expires_at"], "accepted": accepted}
        with self._lock:
            self._note(seen)
            self._file.write(json.dumps(seen) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
