"""The log of one attempt on its way to the store: numbered, in batches, repeated until answered, chained once stored."""

import queue
import threading
import time

from signing import LogChain, canonical_text
from store import content

BATCH_ENTRIES = 100
BATCH_BYTES = 256 * 1024
BATCH_SECONDS = 0.05
# Lines that may wait; beyond it the job is held up.
WAITING_LINES = 2000
# Kept back of the cap for the two lines that say it was reached.
RESERVED_BYTES = 512


class LogWriter:
    """`append(first, entries)` answers as the script does, and is repeated until it answers."""

    def __init__(self, attempt: int, most_bytes: int, append):
        self.chain = LogChain()
        self._attempt, self._most_bytes, self._append = attempt, most_bytes, append
        self._lines = queue.Queue(WAITING_LINES)
        self._bytes, self._dropped, self._is_cut, self._is_over = 0, 0, False, False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def write(self, stream: str, data: bytes):
        self._lines.put((stream, data, int(time.time() * 1000)))

    def note(self, words: str):
        self.write("system", words.encode())

    def finish(self):
        """No line follows. Returns when everything is stored, so that a receipt can speak of it."""
        self._lines.put(None)
        self._thread.join()

    def _run(self):
        while not self._is_over:
            batch = self._take()
            if batch and self._store(batch) == "lost":
                break
        while not self._is_over:
            # Nothing is written any more; who waits for room gets it.
            self._is_over = self._lines.get() is None

    def _take(self) -> list:
        """Entries for one call, as text: those that are there, and those that come within a moment."""
        entries, size, until = [], 0, time.monotonic() + BATCH_SECONDS
        while len(entries) < BATCH_ENTRIES and size < BATCH_BYTES and not self._is_over:
            try:
                line = self._lines.get(timeout=max(0, until - time.monotonic()) if entries else None)
            except queue.Empty:
                break
            if line is None:
                self._is_over = True
                if self._is_cut:
                    entries.append(self._entry(len(entries), "system", b"after the cut %d lines dropped" % self._dropped))
                break
            entry = self._accept(len(entries), *line)
            if entry is not None:
                entries.append(entry)
                size += len(entry)
        return entries

    def _accept(self, ahead: int, stream: str, data: bytes, time_ms: int):
        """The line as an entry; at the cap one that says so, once; beyond it none."""
        if self._is_cut:
            self._dropped += stream != "system"
            return None
        entry = self._entry(ahead, stream, data, time_ms)
        if self._bytes + len(entry) > self._most_bytes - RESERVED_BYTES:
            self._is_cut, self._dropped = True, 1
            entry = self._entry(ahead, "system", b"log cut: the limit of %d bytes is reached" % self._most_bytes)
        self._bytes += len(entry)
        return entry

    def _entry(self, ahead: int, stream: str, data: bytes, time_ms=None) -> bytes:
        seq = self.chain.count + ahead + 1
        time_ms = int(time.time() * 1000) if time_ms is None else time_ms
        entry = {"attempt": self._attempt, "seq": seq, "stream": stream, "time_ms": time_ms, **content(data)}
        return canonical_text(entry).encode()

    def _store(self, batch: list) -> str:
        answer = self._append(self.chain.count + 1, batch)
        if answer == "appended":
            for entry in batch:
                self.chain.append(entry)
        return answer
