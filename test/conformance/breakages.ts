/** Runners that are broken on purpose: a kit that finds nothing wrong with them finds nothing at all. */
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

interface Change {
  /** Below `python/`. */
  readonly file: string;
  readonly what: string;
  readonly by: string;
}

export interface Breakage {
  readonly name: string;
  readonly changes: readonly Change[];
  /** The checks that must find it. */
  readonly found: readonly string[];
}

/** The runner that is copied and broken. */
export const RUNNER_DIRECTORY = fileURLToPath(new URL("python", import.meta.url));

const change = (file: string, what: string, by: string): Change => ({ file, what, by });
/** As a function's first statement. */
const begin = (file: string, head: string, statement: string): Change =>
  change(file, `${head}\n`, `${head}\n${/^ */u.exec(head)?.[0] ?? ""}    ${statement}\n`);

export const BREAKAGES: readonly Breakage[] = [
  {
    name: "reads loosely: any JSON with the members it needs is a job",
    changes: [
      change("job.py", "parse_canonical(claimed.document)", "json.loads(claimed.document)"),
      change("job.py", "not has_members(job, JOB)", "False"),
      change("job.py", 'job["id"] != claimed.id', "False"),
      change("job.py", 'body["id"] != job["id"]', "False"),
      change("process.py", 'job["timeout"]', 'job.get("timeout", 60)'),
    ],
    found: [
      "not-canonical",
      "duplicate-member",
      "unknown-member",
      "missing-member",
      "another-job",
      "ticket-of-another-id",
    ],
  },
  {
    name: "does not ask whose the job is, and where it belongs",
    changes: [
      change("job.py", 'job["aud"] != trust.supervisor', "False"),
      change("job.py", 'claimed.queue != job["runner"]', "False"),
      change("job.py", 'job["runner"] not in trust.queues', "False"),
      change("job.py", 'job["caller_id"] not in trust.allowed', "False"),
    ],
    found: ["foreign-audience", "queue-changed", "foreign-queue", "not-allowed"],
  },
  {
    name: "does not check signatures",
    changes: [
      begin("job.py", "def check_signatures(claimed: Claimed, job: dict):", "return"),
      // The digest holds the ticket to the document: without it too, for the one that was changed after both.
      change("job.py", 'body["job"] != job_digest', "False"),
    ],
    found: [
      "payload-changed",
      "unsigned",
      "signature-wrong",
      "signature-of-another-kind",
      "caller-did-not-sign",
      "one-of-two-is-bad",
      "signed-twice",
      "small-order-key",
      "key-with-torsion",
      "small-order-r",
      "s-beyond-order",
      "upper-case-hex",
      "ticket-swapped",
    ],
  },
  {
    name: "checks the caller's signature alone",
    changes: [change("job.py", "for entry in entries:", "for entry in entries[:1]:")],
    found: ["one-of-two-is-bad", "small-order-key", "key-with-torsion", "small-order-r", "s-beyond-order"],
  },
  {
    name: "leaves the verification rule to OpenSSL",
    changes: [
      change("signing.py", "if is_small_order(signature[:64]) or not is_sound_key(public_key):", "if False:"),
      change("signing.py", "not KEY.fullmatch(public_key) or not SIGNATURE.fullmatch(signature)", "False"),
      change("job.py", '"signature": (True, text(SIGNATURE))}', '"signature": (True, text())}'),
    ],
    found: ["small-order-key", "key-with-torsion", "small-order-r", "upper-case-hex"],
  },
  {
    name: "does not check tickets",
    changes: [
      begin("job.py", "def check_ticket(claimed: Claimed, job: dict, job_digest: str, trust: Trust):", "return"),
    ],
    found: [
      "ticket-missing",
      "ticket-by-another",
      "ticket-impersonated",
      "ticket-for-another-audience",
      "ticket-swapped",
      "ticket-of-another-id",
      "ticket-for-another-queue",
      "ticket-for-another-time",
    ],
  },
  {
    name: "takes any key's ticket",
    changes: [
      change("job.py", 'ticket["public_key"] != trust.supervisor or body["aud"] != trust.supervisor', "False"),
      change("job.py", "verify(trust.supervisor,", 'verify(ticket["public_key"],'),
    ],
    found: ["ticket-by-another", "ticket-for-another-audience"],
  },
  {
    name: "remembers nothing, and ends what is late",
    changes: [
      begin("job.py", "    def recall(self, id: str, attempt: int):", "return None"),
      change("job.py", 'expires_at"] + SKEW_SECONDS', 'expires_at"] + 10**9'),
      change("job.py", "0) - SKEW_SECONDS", "0) - 10**9"),
    ],
    found: [
      "finished-before",
      "finished-before-restart",
      "attempt-run-before",
      "attempt-run-before-once",
      "late-by-own-clock",
      "early-by-own-clock",
    ],
  },
  {
    name: "takes a job for finished that it began once",
    changes: [change("job.py", 'attempt <= seen["attempt"]', "attempt <= 20")],
    found: ["killed", "frozen-alone", "retry"],
  },
  {
    name: "remembers in memory alone",
    changes: [change("job.py", "self._file.write(json", "len(json")],
    found: ["finished-before-restart"],
  },
  {
    name: "ends the process and not its group, and never kills",
    changes: [
      change(
        "process.py",
        "os.killpg(process.pid, number)",
        "number == signal.SIGTERM and os.kill(process.pid, number)",
      ),
    ],
    found: ["timeout-kills-group", "cancel-kills-group", "group-ends-with-job", "lease-stolen", "frozen"],
  },
  {
    name: "kills without asking",
    changes: [change("process.py", "signal_group(process, signal.SIGTERM)", "signal_group(process, signal.SIGKILL)")],
    found: ["timeout-asks-first", "cancel-asks-first", "drain-gives-back"],
  },
  {
    name: "asks a process to end whose lease is lost",
    changes: [
      change(
        "process.py",
        'cause = cause or "gone"\n            signal_group(process, signal.SIGKILL)',
        'cause = cause or "gone"\n            signal_group(process, signal.SIGTERM)',
      ),
    ],
    found: ["lease-stolen", "frozen"],
  },
  {
    name: "does not hear that a lease is lost",
    changes: [begin("runner.py", "    def is_gone(self) -> bool:", "return False")],
    found: ["lease-stolen", "frozen", "frozen-alone"],
  },
  {
    name: "does not renew",
    changes: [begin("runner.py", "    def renew(self, shard: int, holds: list):", "return")],
    found: ["renewed", "cancel-kills-group", "cancel-without-hint"],
  },
  {
    name: "hears of a cancel by the hint alone, has no poll, and takes more than it has slots for",
    changes: [
      change("runner.py", 'if answer == "cancelling":', "if self.is_hinted:"),
      change("runner.py", "self.is_removed = False", "self.is_removed = self.is_hinted = False"),
      change(
        "runner.py",
        "(self.renew_wake if is_cancel",
        "self.is_hinted = self.is_hinted or is_cancel\n                        (self.renew_wake if is_cancel",
      ),
      change("runner.py", "POLL_SECONDS * (0.75", "3600 * (0.75"),
      change("runner.py", "free = self.slots - len(self.holds)", "free = 16"),
    ],
    found: ["cancel-without-hint", "poll", "slots"],
  },
  {
    name: "shares its name",
    changes: [
      change("runner.py", 'if answer[0] == "attached":', 'if answer[0] in ("attached", "taken"):'),
      // Else its first heartbeat tells it, sooner or later than it claims.
      begin("runner.py", "    def reattach(self):", "return"),
    ],
    found: ["one-process-a-name"],
  },
  {
    name: "goes on claiming in a drain, calls what it ends failed, and does not hear that it is removed",
    changes: [
      change(
        "runner.py",
        "while not self.is_draining.is_set():\n            taken",
        "while not self.is_hurried.is_set():\n            taken",
      ),
      change(
        "runner.py",
        "        self.is_draining.set()\n",
        "        self.is_draining.set()\n        threading.Timer(self.grace_seconds, self.is_hurried.set).start()\n",
      ),
      change(
        "runner.py",
        "        elif not hold.is_gone():\n            self.release(hold)",
        '        else:\n            self.finish(hold, unstarted("stopped"), receipt_parts)',
      ),
      begin("runner.py", "    def reattach(self):", "return"),
    ],
    found: ["drain-lets-finish", "drain-gives-back", "removed"],
  },
  {
    name: "gives its jobs whatever it has",
    changes: [
      change("process.py", 'environment = {"PATH"', 'environment = dict(os.environ)\n    environment |= {"PATH"'),
      change("process.py", "if GUARDED.fullmatch(name)", "if False"),
      change(
        "process.py",
        "process = subprocess.Popen(\n                COMMAND,",
        'process = subprocess.Popen(\n                ["bash", "-c", job["payload"]],',
      ),
      change("process.py", '"cwd": scratch.work', '"cwd": os.path.dirname(scratch.path)'),
      change(
        "process.py",
        '"start_new_session": True, "close_fds": True',
        '"start_new_session": False, "close_fds": False',
      ),
      change("runner.py", 'job.get("executor", "default") != "default"', "False"),
    ],
    found: [
      "payload-on-stdin",
      "environment",
      "environment-refused",
      "executor-unknown",
      "working-directory",
      "process-group",
    ],
  },
  {
    name: "chains its log wrongly",
    changes: [change("signing.py", 'b"horus.log.v1\\0" + link', 'b"horus.log.v1" + link')],
    found: ["streams", "utf8-and-base64", "log-cap"],
  },
  {
    name: "signs receipts with a key of its own making",
    changes: [change("signing.py", "= self._key.sign(", "= Ed25519PrivateKey.from_private_bytes(bytes(32)).sign(")],
    found: ["completed", "exit-code", "result"],
  },
  {
    name: "keeps everything, follows links, retries nothing, and sends its log at the end",
    changes: [
      change("process.py", "MAX_LINE_BYTES = 16 * 1024", "MAX_LINE_BYTES = 2**30"),
      change("process.py", "MAX_RESULT_BYTES = 256 * 1024", "MAX_RESULT_BYTES = 2**30"),
      change("process.py", "os.O_RDONLY | os.O_NOFOLLOW", "os.O_RDONLY"),
      change("log.py", "self._bytes + len(entry) > self._most_bytes - RESERVED_BYTES", "False"),
      change("log.py", "BATCH_SECONDS = 0.05", "BATCH_SECONDS = 60"),
      change("store.py", '"1" if outcome.is_retryable else "0"', '"0"'),
    ],
    found: [
      "log-cap",
      "long-line",
      "result-too-large",
      "result-is-a-link",
      "retry",
      "timeout-is-retried",
      "log-while-running",
    ],
  },
  {
    name: "takes the first failure of a call for its end",
    changes: [
      change(
        "runner.py",
        "if tried == tries or is_hopeless():\n                    return None",
        "raise SystemExit(1)",
      ),
      change("store.py", "except redis.exceptions.NoScriptError:", "except ZeroDivisionError:"),
      // It loads each script once, as it first needs it.
      change(
        "store.py",
        "self._scripts, self._directory = {}, scripts",
        "self._scripts, self._directory, self._loaded = {}, scripts, set()",
      ),
      change(
        "store.py",
        "        try:\n            return self.client.evalsha",
        "        if script not in self._loaded:\n            self._loaded.add(script)\n            return self.client.eval(text, len(keys), *keys, *arguments)\n        try:\n            return self.client.evalsha",
      ),
    ],
    found: ["no-script", "redis-restart"],
  },
];

/** A copy of the Python runner with the changes made. @throws Error when one finds nothing to change */
export async function breakRunner({ name, changes }: Breakage, directory: string): Promise<string> {
  await cp(RUNNER_DIRECTORY, directory, { recursive: true });
  for (const { file, what, by } of changes) {
    const path = join(directory, file);
    const before = await readFile(path, "utf8");
    if (!before.includes(what)) throw new Error(`${file} has changed: say anew what breaking it means ("${name}").`);
    await writeFile(
      path,
      before.replaceAll(what, () => by),
    );
  }
  return join(directory, "runner.py");
}
