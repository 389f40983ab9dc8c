"""The calls of the protocol: one method for each script."""

import base64
import glob
import hashlib
import json
import os
import random
import secrets

import redis

from job import Claimed

# Room above the log's cap for the lines that say what is missing.
MARKER_BYTES = 65_536


class Store:
    def __init__(self, url: str, prefix: str, scripts: str, name: str, groups: list):
        self.prefix, self.name, self.groups = prefix, name, sorted(groups)
        self.queues = [name, *self.groups]
        self._scripts, self._directory = {}, scripts
        fields = ["shards", "lease_ms", "backoff_base_ms", "backoff_max_ms", "max_log_bytes"]
        with redis.Redis.from_url(url, socket_timeout=5) as client:
            values = client.hmget(f"{prefix}:meta", fields)
        if None in values:
            raise SystemExit(f"no supervisor has started on the data under {prefix}")
        self.shards, self.lease_ms, *self.backoff_ms, self.max_log_bytes = map(int, values)
        # A call that hangs must not take the next chance to renew with it.
        timeout = min(5, self.lease_ms / 3000)
        self.client = redis.Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout)

    # --- keys ---

    def shard_of(self, id: str) -> int:
        return int.from_bytes(hashlib.sha256(id.encode()).digest()[:4], "big") % self.shards

    def key(self, shard: int, name: str) -> str:
        return f"{self.prefix}:{{s{shard}}}:{name}"

    def job_keys(self, id: str, *names: str) -> list:
        return [self.key(self.shard_of(id), name) for name in names]

    def evidence_keys(self) -> list:
        return [self.key(0, f"beat:{self.name}"), *(self.key(0, f"live:{queue}") for queue in self.queues)]

    # --- scripts ---

    def _text(self, script: str) -> bytes:
        """A file's first line (its flags), the library, the rest of the file."""
        if script not in self._scripts:
            with open(os.path.join(self._directory, f"{script}.lua"), "rb") as file:
                flags, rest = file.read().split(b"\n", 1)
            library = b""
            for path in sorted(glob.glob(os.path.join(self._directory, "lib", "*.lua"))):
                with open(path, "rb") as file:
                    library += file.read()
            self._scripts[script] = flags + b"\n" + library + rest
        return self._scripts[script]

    def run(self, script: str, keys: list, *arguments):
        text = self._text(script)
        try:
            return self.client.evalsha(hashlib.sha1(text).hexdigest(), len(keys), *keys, *arguments)
        except redis.exceptions.NoScriptError:
            # A restart or SCRIPT FLUSH emptied the cache: nothing was done.
            return self.client.eval(text, len(keys), *keys, *arguments)

    def attach(self, key: str, process: str) -> list:
        reply = self.run("attach", self.evidence_keys(), self.name, key, process, "python", self.lease_ms, *self.groups)
        return [each.decode() if isinstance(each, bytes) else each for each in reply]

    def heartbeat(self, process: str, mode: str, running: int) -> str:
        arguments = [self.name, process, mode, running, "python", "", "", *self.groups]
        return self.run("heartbeat", self.evidence_keys(), *arguments).decode()

    def claim(self, shard: int, token: str, most: int):
        """The jobs, and whether entries were cleared away so that asking again may bring some."""
        keys = [self.key(shard, name) for name in ("leases", f"claim:{token}", "expiry", "bytes")]
        for queue in self.queues:
            keys += [self.key(shard, f"q:{queue}"), self.key(shard, f"delayed:{queue}")]
        reply = self.run("claim", keys, self.name, token, most, self.lease_ms, *self.queues)
        if reply[0] == b"unregistered":
            return [], False
        jobs = [
            Claimed(id.decode(), int(attempt), token, cancelling == b"1", queue.decode(), document, signatures, ticket)
            for id, attempt, cancelling, queue, document, signatures, ticket in reply[2:]
        ]
        return jobs, reply[1] > 0

    def renew(self, shard: int, jobs: list) -> list:
        keys = self.key(shard, "leases"), *(self.key(shard, f"job:{job.id}") for job in jobs)
        fences = [part for job in jobs for part in fence(job)]
        return [answer.decode() for answer in self.run("renew", list(keys), self.lease_ms, *fences)]

    def append(self, job: Claimed, first: int, entries: list) -> str:
        size = sum(map(len, entries))
        keys = self.job_keys(job.id, f"job:{job.id}", f"log:{job.id}")
        return self.run("append", keys, *fence(job), first, self.max_log_bytes + MARKER_BYTES, size, *entries).decode()

    def finish(self, job: Claimed, outcome, receipt):
        """The state the job is in now, or None where the lease was lost."""
        keys = self.job_keys(job.id, f"job:{job.id}", "leases")
        retry = ["1" if outcome.is_retryable else "0", *self.backoff_ms, random.random()]
        result = "" if outcome.result == b"" else json.dumps(content(outcome.result), ensure_ascii=False)
        receipt = "" if receipt is None else json.dumps(receipt)
        arguments = [*fence(job), outcome.status, outcome.code, outcome.reason, *retry, result, receipt]
        reply = self.run("finish", keys, *arguments)
        return reply[1].decode() if reply[0] == b"accepted" else None

    def release(self, job: Claimed) -> str:
        return self.run("release", self.job_keys(job.id, f"job:{job.id}", "leases"), *fence(job)).decode()

    def hints(self):
        """A subscription: something was queued, or a running job is to be cancelled. Hints may be lost."""
        subscription = self.client.pubsub(ignore_subscribe_messages=True)
        channels = [f"{self.prefix}:hint:{queue}" for queue in self.queues]
        subscription.subscribe(*channels, f"{self.prefix}:cancel:{self.name}")
        return subscription


def new_token() -> str:
    return secrets.token_hex(16)


def fence(job: Claimed) -> tuple:
    return (job.id, job.attempt, job.token)


def content(data: bytes) -> dict:
    """Text where the bytes are UTF-8, else base64."""
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}
