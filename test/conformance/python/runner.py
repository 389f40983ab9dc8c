"""A complete runner in Python 3: the model for runners in other languages. README.md beside it says how to start it."""

import os
import random
import re
import secrets
import signal
import sys
import threading
import time

import redis

from job import SeenJobs, Trust, check_job, is_untimely, read_job
from log import LogWriter
from process import Outcome, Scratch, execute, unstarted
from signing import LogChain, Refused, Signer, digest
from store import Store, new_token

POLL_SECONDS = 1
RENEWALS = 3


def say(words: str):
    print(words, file=sys.stderr, flush=True)


class Hold:
    """The lease of one attempt, as far as this process knows."""

    def __init__(self, claimed, until: float):
        self.claimed, self.until = claimed, until
        self.is_cancelled, self.is_lost = threading.Event(), threading.Event()

    def is_gone(self) -> bool:
        """Lost by the store's word, or not renewed for a whole lease (also: frozen for that long)."""
        return self.is_lost.is_set() or time.monotonic() > self.until


class Runner:
    def __init__(self, store: Store, signer: Signer, trust: Trust, slots: int, directory: str, grace: float):
        self.store, self.signer, self.trust = store, signer, trust
        self.slots, self.directory, self.grace_seconds = slots, directory, grace
        self.process = secrets.token_hex(16)
        self.lease_seconds = store.lease_ms / 1000
        self.holds, self.lock = set(), threading.Lock()
        self.claim_wake, self.renew_wake = threading.Event(), threading.Event()
        self.is_draining, self.is_hurried, self.is_over = threading.Event(), threading.Event(), threading.Event()
        self.is_removed = False

    # --- life ---

    def run(self) -> int:
        self.attach()
        # Not before the name is ours: another process of this name could be writing there.
        self.seen = SeenJobs(os.path.join(self.directory, "seen"))
        for loop in (self.keep_beating, self.keep_renewing, self.keep_listening):
            threading.Thread(target=loop, daemon=True).start()
        self.keep_claiming()
        self.drain()
        return 1 if self.is_removed else 0

    def attach(self):
        """One live process a name: that of a killed one is free when its last heartbeat is a lease old."""
        until = time.monotonic() + self.lease_seconds * 1.5
        while not self.is_draining.is_set():
            answer = self.persist(lambda: self.store.attach(self.signer.public_key, self.process))
            if answer[0] == "attached":
                return
            if answer[0] != "taken" or time.monotonic() > until:
                raise SystemExit(f"{self.store.name} is refused: {answer}")
            time.sleep(0.25)
        raise SystemExit(0)

    def drain(self):
        """Takes nothing new; what runs may end, and is given back when the grace is over."""
        until = time.monotonic() + self.grace_seconds
        while self.holds:
            if time.monotonic() > until:
                self.is_hurried.set()
            time.sleep(0.05)
        self.is_over.set()
        self.persist(lambda: self.store.heartbeat(self.process, "detached", 0), tries=3)

    def persist(self, call, tries=None, is_hopeless=lambda: False):
        """Repeats a call until it is answered: every script gives the same answer to the same call."""
        tried = 0
        while True:
            try:
                return call()
            except redis.RedisError as error:
                tried += 1
                say(f"redis: {error}")
                if tried == tries or is_hopeless():
                    return None
                time.sleep(min(2, 0.1 * 2 ** min(tried, 5)) * (0.5 + random.random() / 2))

    # --- loops ---

    def keep_beating(self):
        while not self.is_over.is_set():
            mode = "draining" if self.is_draining.is_set() else "live"
            try:
                if self.store.heartbeat(self.process, mode, len(self.holds)) == "removed" and mode == "live":
                    self.reattach()
            except redis.RedisError:
                pass
            self.is_over.wait(self.lease_seconds / RENEWALS)

    def reattach(self):
        """Redis forgot this process, or somebody removed it: attaching tells which."""
        if self.store.attach(self.signer.public_key, self.process)[0] != "attached":
            self.is_removed = True
            self.stop()

    def keep_renewing(self):
        while not self.is_over.is_set():
            self.renew_wake.wait(self.lease_seconds / RENEWALS)
            self.renew_wake.clear()
            by_shard = {}
            for hold in list(self.holds):
                by_shard.setdefault(self.store.shard_of(hold.claimed.id), []).append(hold)
            for shard, holds in by_shard.items():
                for at in range(0, len(holds), 100):
                    self.renew(shard, holds[at : at + 100])

    def renew(self, shard: int, holds: list):
        # A lease counts from when Redis got the call: never earlier than this.
        sent = time.monotonic()
        try:
            answers = self.store.renew(shard, [hold.claimed for hold in holds])
        except redis.RedisError:
            return
        for hold, answer in zip(holds, answers):
            if answer == "lost":
                hold.is_lost.set()
                continue
            hold.until = sent + self.lease_seconds
            if answer == "cancelling":
                hold.is_cancelled.set()

    def keep_listening(self):
        while not self.is_over.is_set():
            try:
                hints = self.store.hints()
                while not self.is_over.is_set():
                    message = hints.get_message(timeout=1)
                    if message is not None:
                        is_cancel = message["channel"].startswith(f"{self.store.prefix}:cancel:".encode())
                        (self.renew_wake if is_cancel else self.claim_wake).set()
            except redis.RedisError:
                time.sleep(0.2)

    def keep_claiming(self):
        shard = 0
        while not self.is_draining.is_set():
            taken = 0
            for _ in range(self.store.shards):
                free = self.slots - len(self.holds)
                if free > 0:
                    taken += self.claim(shard, min(free, 16))
                shard = (shard + 1) % self.store.shards
            if taken == 0:
                self.claim_wake.wait(POLL_SECONDS * (0.75 + random.random() / 2))
                self.claim_wake.clear()

    def claim(self, shard: int, most: int) -> int:
        """The same token again gives the same jobs, so that an answer which was lost can be asked for again."""
        token, since = new_token(), time.monotonic()
        jobs, was_cleared = self.persist(lambda: self.store.claim(shard, token, most))
        for claimed in jobs:
            hold = Hold(claimed, since + self.lease_seconds)
            with self.lock:
                self.holds.add(hold)
            threading.Thread(target=self.attempt, args=(hold,)).start()
        return len(jobs) + was_cleared

    # --- one attempt ---

    def attempt(self, hold: Hold):
        try:
            self.run_attempt(hold)
        except Exception as error:
            # A fault of our own: somebody else may be able to run it. Slowly, for the next job may meet it too.
            say(f"{hold.claimed.id}: {error!r}")
            self.release(hold)
            time.sleep(1)
        finally:
            with self.lock:
                self.holds.discard(hold)
            self.claim_wake.set()

    def run_attempt(self, hold: Hold):
        claimed, started_ms = hold.claimed, int(time.time() * 1000)
        receipt_parts = {"started_ms": started_ms, "chain": LogChain()}
        try:
            job, job_digest = read_job(claimed)
        except Refused as reason:
            # Nothing that could be signed about.
            self.finish(hold, unstarted(f"refused: {reason}"), None)
            return
        receipt_parts.update(job=job, digest=job_digest)
        try:
            check_job(claimed, job, job_digest, self.trust)
        except Refused as reason:
            self.finish(hold, unstarted(f"refused: {reason}"), receipt_parts)
            return
        seen = self.seen.recall(claimed.id, claimed.attempt)
        if seen == "finished":
            # No receipt: it would contradict the one of the attempt that did run.
            self.finish(hold, unstarted("refused: this runner has finished it already"), None)
        elif is_untimely(job):
            say(f"{claimed.id}: not its time by this machine's clock, though by that of Redis; given back")
            self.release(hold)
            time.sleep(1)
        elif seen == "begun" and job.get("on_loss", "retry") == "fail":
            self.finish(hold, unstarted("refused: an attempt of this number began here before"), None)
        elif seen == "begun":
            # Redis forgot it: the next attempt has a number of its own.
            self.release(hold)
        elif claimed.is_cancelling:
            self.finish(hold, Outcome("cancelled", -1), receipt_parts)
        elif job.get("executor", "default") != "default":
            self.finish(hold, unstarted(f"unknown executor {job['executor']}"), receipt_parts)
        else:
            self.run_job(hold, job, receipt_parts)

    def run_job(self, hold: Hold, job: dict, receipt_parts: dict):
        claimed = hold.claimed
        self.seen.remember(claimed, job, accepted=False)
        if hold.is_gone():
            return
        scratch = Scratch(os.path.join(self.directory, "scratch"))
        log = LogWriter(claimed.attempt, self.store.max_log_bytes, lambda *batch: self.append(hold, *batch))
        try:
            outcome = execute(job, hold, log, self.is_hurried, scratch)
            if outcome is None and self.is_hurried.is_set():
                log.note("the runner stops: the job is given back")
        finally:
            log.finish()
            scratch.remove()
        receipt_parts.update(chain=log.chain)
        if outcome is not None:
            self.finish(hold, outcome, receipt_parts)
        elif not hold.is_gone() and job.get("on_loss") == "fail":
            # Once begun it must not begin again.
            self.finish(hold, unstarted("the runner stopped while it ran"), receipt_parts)
        elif not hold.is_gone():
            self.release(hold)

    def append(self, hold: Hold, first: int, entries: list) -> str:
        answer = self.persist(lambda: self.store.append(hold.claimed, first, entries), is_hopeless=hold.is_lost.is_set)
        if answer == "lost":
            hold.is_lost.set()
        return "lost" if answer in (None, "gap") else answer

    def finish(self, hold: Hold, outcome: Outcome, receipt_parts):
        """Handed in until it is answered, even when the lease may be over: the store alone knows."""
        if hold.is_lost.is_set():
            return
        claimed = hold.claimed
        receipt = None if receipt_parts is None else self.receipt(claimed, outcome, **receipt_parts)
        state = self.persist(lambda: self.store.finish(claimed, outcome, receipt))
        say(f"{claimed.id} attempt {claimed.attempt}: {outcome.status} {outcome.reason} ({state or 'lost'})")
        if state not in (None, "pending") and receipt_parts is not None:
            self.seen.remember(claimed, receipt_parts["job"], accepted=True)

    def receipt(self, claimed, outcome: Outcome, job: dict, digest: str, started_ms: int, chain: LogChain) -> dict:
        return self.signer.sign("receipt", receipt_body(self, claimed, outcome, job, digest, started_ms, chain))

    def release(self, hold: Hold):
        self.persist(lambda: self.store.release(hold.claimed), is_hopeless=hold.is_gone)

    def stop(self, *_):
        self.is_draining.set()
        self.claim_wake.set()


def receipt_body(runner: Runner, claimed, outcome: Outcome, job: dict, job_digest: str, started_ms: int, chain) -> dict:
    return {
        "v": 1,
        "aud": runner.trust.supervisor,
        "job": job_digest,
        "id": claimed.id,
        "caller_id": job["caller_id"],
        "runner": runner.signer.public_key,
        "queue": claimed.queue,
        "attempt": claimed.attempt,
        "status": outcome.status,
        "code": outcome.code,
        "started_ms": started_ms,
        "finished_ms": max(started_ms, int(time.time() * 1000)),
        "result": digest(outcome.result),
        "result_len": len(outcome.result),
        "logs": chain.head.hex(),
        "logs_count": chain.count,
    }


def read_allow_list(path: str) -> frozenset:
    """The keys of its `[[allow]]` tables."""
    with open(path, encoding="utf-8") as file:
        return frozenset(re.findall(r'^key = "(ed25519:[0-9a-f]{64})"$', file.read(), re.MULTILINE))


def main() -> int:
    given = os.environ
    name, groups = given["RUNNER_NAME"], given["RUNNER_GROUPS"].split()
    store = Store(given["RUNNER_REDIS_URL"], given["RUNNER_PREFIX"], given["RUNNER_SCRIPTS"], name, groups)
    trust = Trust(given["RUNNER_SUPERVISOR"], (name, *groups), read_allow_list(given["RUNNER_ALLOW_FILE"]))
    signer = Signer(given["RUNNER_KEY_FILE"])
    grace = float(given.get("RUNNER_GRACE_SECONDS", "30"))
    runner = Runner(store, signer, trust, int(given["RUNNER_SLOTS"]), given["RUNNER_DIRECTORY"], grace)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, runner.stop)
    return runner.run()


if __name__ == "__main__":
    sys.exit(main())
