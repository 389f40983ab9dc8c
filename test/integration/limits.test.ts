/** Every limit of `x-limits`, met from outside: over a socket, at a supervisor started by its own command line. */
import { readFile } from "node:fs/promises";

import { Type } from "typebox";
import { Compile } from "typebox/compile";
import { describe, expect, test } from "vitest";

import { GET_INFO, RawSocket } from "../support/http.ts";
import { Outside } from "../support/outside.ts";
import { objectOf } from "../support/signing.ts";
import { waitUntil } from "../support/wait.ts";
import { aFrame, anUpgrade, closeOf } from "../support/websocket.ts";

interface Case {
  /** One line of the settings file each: `section.name = value`. */
  readonly settings: Readonly<Record<string, number>>;
  /** What shows that the limit was met. */
  readonly hit: (outside: Outside) => Promise<unknown>;
  /** The answer names the limit; where there is none, this is what the limit does. */
  readonly told: unknown;
}

const Limits = Compile(Type.Object({ "x-limits": Type.Record(Type.String(), Type.Number()) }));
const DISCOVER = '{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}';
const HEAD = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
const TEXT = 1;
const A_NUMBER: unknown = expect.any(Number);

/** How a JSON-RPC answer names a limit. */
const named = (code: number, limit: string, data: object = {}): object => ({
  error: { code, data: { limit, ...data } },
});
/** Text like this, as a part of what is compared. */
const matching = (pattern: RegExp): unknown => expect.stringMatching(pattern);
const TOO_LARGE = -32_013;
const TOO_MANY = -32_029;

/** Sends bytes on a connection of its own; what came back until it was closed. */
async function untilClosed(outside: Outside, bytes: string): Promise<string> {
  await using socket = new RawSocket(outside.port);
  socket.write(bytes);
  await waitUntil(() => socket.isClosed);
  return socket.received;
}

/** Waits for a state, and gives the job as it is then. */
async function ended(outside: Outside, id: string): Promise<Readonly<Record<string, unknown>>> {
  await waitUntil(
    async () => !["pending", "running"].includes((await outside.client.call("get_job", { id })).state),
    60_000,
  );
  return { ...(await outside.client.call("get_job", { id })) };
}

/** A job of one attempt that a real runner carries out. */
async function run(outside: Outside, payload: string): Promise<string> {
  await outside.startRunner();
  const id = await outside.submit({ payload });
  await ended(outside, id);
  return id;
}

async function logOf(outside: Outside, id: string): Promise<string> {
  const { entries } = await outside.client.call("get_job_logs", { id });
  return entries.map(({ stream, text }) => `${stream} ${text}`).join("\n");
}

/** The state in which a wait for a job ended that was cancelled behind it: one at a time, the wait comes to its own end. */
async function waitBeforeCancel(outside: Outside): Promise<{ readonly wait: object; readonly cancel: object }> {
  await outside.register();
  const id = await outside.submit();
  const { revision } = await outside.client.call("get_job", { id });
  return {
    wait: { ...(await outside.signed("wait_job", { id, since: revision, wait_ms: 1000 })), id: "wait" },
    cancel: { ...(await outside.signed("cancel_job", { id })), id: "cancel" },
  };
}

/** The second of two jobs, where one is admitted. */
async function secondJob(outside: Outside): Promise<unknown> {
  await outside.register();
  await outside.submit({ payload: "x".repeat(500) });
  return outside.ask(await outside.aJob({ payload: "x".repeat(500) }));
}

const CASES: Readonly<Record<string, Case>> = {
  max_body_bytes: {
    settings: { "http.max_body_bytes": 2000 },
    async hit(outside) {
      const http = await outside.post(GET_INFO.padEnd(2001));
      await using client = await outside.webSocket();
      client.send(GET_INFO.padEnd(2001));
      return [http, await client.waitForClose()];
    },
    told: [
      { status: 413, body: { limit: "max_body_bytes" } },
      { code: 1009, reason: "max_body_bytes" },
    ],
  },
  max_answer_bytes: {
    settings: { "http.max_answer_bytes": 2000 },
    hit: async (outside) => outside.ask(DISCOVER),
    told: named(TOO_LARGE, "max_answer_bytes"),
  },
  max_connections: {
    settings: { "http.max_connections": 2 },
    async hit(outside) {
      // Connections that are idle make room, and WebSockets of strangers; one on which a call was signed well is never idle.
      await using first = await outside.webSocket();
      await using second = await outside.webSocket();
      for (const client of [first, second]) {
        client.send(await outside.signed("whoami"));
        await client.waitForMessages(1);
      }
      const http = await outside.post(GET_INFO);
      await using late = new RawSocket(outside.port);
      late.write(anUpgrade());
      await waitUntil(() => late.isClosed);
      return [http, late.received];
    },
    told: [
      { status: 503, retryAfter: "1", body: { limit: "max_connections" } },
      matching(/^HTTP\/1\.1 503 [^]*Retry-After: 1\r\n[^]*"limit":"max_connections"/u),
    ],
  },
  headers_ms: {
    settings: { "http.headers_ms": 100, "http.request_ms": 60_000 },
    hit: async (outside) => untilClosed(outside, HEAD),
    told: matching(/^HTTP\/1\.1 408 [^]*"limit":"headers_ms"/u),
  },
  request_ms: {
    settings: { "http.headers_ms": 200, "http.request_ms": 400 },
    hit: async (outside) => untilClosed(outside, `${HEAD}Content-Length: 10\r\n\r\n{`),
    told: matching(/^HTTP\/1\.1 408 [^]*"limit":"request_ms"/u),
  },
  keep_alive_ms: {
    settings: { "http.keep_alive_ms": 100 },
    hit: async (outside) => untilClosed(outside, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    told: matching(/^HTTP\/1\.1 200 [^]*Keep-Alive: timeout=/u),
  },
  max_in_flight: {
    settings: { "websocket.max_in_flight": 1 },
    async hit(outside) {
      const { wait, cancel } = await waitBeforeCancel(outside);
      await using client = await outside.webSocket();
      client.send(wait);
      client.send(cancel);
      const answers = await client.waitForMessages(2);
      return answers;
    },
    told: [
      { id: "wait", result: { state: "pending" } },
      { id: "cancel", result: { state: "cancelled" } },
    ],
  },
  concurrency: {
    settings: { "rpc.concurrency": 1 },
    async hit(outside) {
      const { wait, cancel } = await waitBeforeCancel(outside);
      return outside.ask([wait, cancel]);
    },
    told: [
      { id: "wait", result: { state: "pending" } },
      { id: "cancel", result: { state: "cancelled" } },
    ],
  },
  max_fragments: {
    settings: { "websocket.max_fragments": 4 },
    async hit(outside) {
      await using raw = new RawSocket(outside.port);
      raw.write(anUpgrade());
      await waitUntil(() => raw.received.includes("\r\n\r\n"));
      raw.received = "";
      for (let index = 0; index < 5; index += 1) {
        raw.write(aFrame(index === 0 ? TEXT : 0, Buffer.from(" "), { isLast: false }));
      }
      await waitUntil(() => raw.isClosed);
      return closeOf(raw);
    },
    told: { code: 1008, reason: "max_fragments" },
  },
  max_unsent_bytes: {
    settings: { "websocket.max_unsent_bytes": 1024 },
    async hit(outside) {
      await using client = await outside.webSocket();
      // A reader that takes nothing for 5 s stands still; then it has 5 s to take the rest. A busy machine may miss that.
      for (let patience = 5; patience > 0 && client.closed === undefined; patience -= 1) {
        const before = client.received.length;
        client.socket.pause();
        // Far more than the buffers of both sockets hold.
        for (let index = 0; index < 200; index += 1) client.send(DISCOVER);
        await new Promise((resolve) => setTimeout(resolve, 7000));
        client.socket.resume();
        await waitUntil(() => client.closed !== undefined || client.received.length === before + 200);
      }
      const closed = await client.waitForClose();
      return closed;
    },
    told: { code: 1013, reason: "too slow a reader: max_unsent_bytes" },
  },
  max_subscriptions: {
    settings: { "websocket.max_subscriptions": 1 },
    async hit(outside) {
      await outside.register();
      const id = await outside.submit();
      await using client = await outside.webSocket();
      client.send(await outside.signed("subscribe_job", { id }));
      client.send({ ...(await outside.signed("subscribe_job", { id })), id: 2 });
      const answers = (): readonly unknown[] => client.messages.filter((message) => "error" in Object(message));
      await waitUntil(() => answers().length === 1);
      return answers()[0];
    },
    told: named(TOO_MANY, "max_subscriptions", { allowed: 1 }),
  },
  ping_ms: {
    settings: { "websocket.ping_ms": 50 },
    async hit(outside) {
      await using client = await outside.webSocket({ autoPong: false });
      await client.waitForClose();
      return client.pings;
    },
    told: 2,
  },
  session_ms: {
    settings: { "websocket.session_ms": 1 },
    async hit(outside) {
      await using client = await outside.webSocket();
      client.send('{"jsonrpc":"2.0","id":1,"method":"auth_challenge"}');
      const [answer] = await client.waitForMessages(1);
      const { challenge } = objectOf(JSON.stringify(objectOf(JSON.stringify(answer))["result"]));
      client.send(await outside.login(String(challenge)));
      await client.waitForMessages(2);
      client.send('{"jsonrpc":"2.0","id":3,"method":"whoami"}');
      const answers = await client.waitForMessages(3);
      return answers;
    },
    // Every fault of a credential has this answer; when a login ends, its own answer has told.
    told: [{ id: 1 }, { result: { expires_at: A_NUMBER } }, { id: 3, error: { code: -32_001 } }],
  },
  max_batch: {
    settings: { "rpc.max_batch": 2 },
    hit: async (outside) => outside.ask(`[${GET_INFO},${GET_INFO},${GET_INFO}]`),
    told: named(TOO_MANY, "max_batch", { allowed: 2, present: 3 }),
  },
  call_ms: {
    settings: { "rpc.call_ms": 300 },
    async hit(outside) {
      await outside.console.redis.kill("SIGSTOP");
      try {
        return await outside.ask(await outside.signed("list_jobs"));
      } finally {
        await outside.console.redis.kill("SIGCONT");
      }
    },
    told: named(-32_053, "call_ms", { applied: "unknown" }),
  },
  address_calls_per_second: {
    settings: { "rpc.address_calls_per_second": 1, "rpc.address_burst": 1 },
    async hit(outside) {
      await outside.ask(GET_INFO);
      return outside.ask(GET_INFO);
    },
    told: named(TOO_MANY, "address_calls_per_second", { retry_after_ms: A_NUMBER }),
  },
  address_burst: {
    settings: { "rpc.address_calls_per_second": 1, "rpc.address_burst": 5 },
    hit: async (outside) => outside.ask(`[${Array.from({ length: 6 }, () => GET_INFO).join(",")}]`),
    told: [
      ...Array.from({ length: 5 }, () => ({ result: { name: "horus-supervisor" } })),
      named(TOO_MANY, "address_calls_per_second", { retry_after_ms: A_NUMBER }),
    ],
  },
  max_payload_bytes: {
    settings: { "jobs.max_payload_bytes": 1024 },
    hit: async (outside) => outside.ask(await outside.aJob({ payload: "x".repeat(1025) })),
    told: named(TOO_LARGE, "max_payload_bytes", { allowed: 1024, present: 1025 }),
  },
  max_document_bytes: {
    settings: { "jobs.max_document_bytes": 1024 },
    hit: async (outside) => outside.ask(await outside.aJob({ payload: "x".repeat(1000) })),
    told: named(TOO_LARGE, "max_document_bytes", { allowed: 1024 }),
  },
  max_env_value_bytes: {
    settings: { "jobs.max_env_value_bytes": 10 },
    hit: async (outside) => outside.ask(await outside.aJob({ env_vars: { A: "x".repeat(11) } })),
    told: named(TOO_LARGE, "max_env_value_bytes", { allowed: 10, present: 11 }),
  },
  max_lifetime_seconds: {
    settings: { "jobs.max_lifetime_seconds": 60 },
    hit: async (outside) => outside.ask(await outside.aJob()),
    told: named(-32_002, "max_lifetime_seconds", { allowed: 60, present: 3600 }),
  },
  max_queue_jobs: {
    settings: { "jobs.max_queue_jobs": 1 },
    hit: secondJob,
    told: named(TOO_MANY, "max_queue_jobs", { present: 1 }),
  },
  max_queue_bytes: {
    settings: { "jobs.max_queue_bytes": 3000 },
    hit: secondJob,
    told: named(TOO_MANY, "max_queue_bytes"),
  },
  max_principal_jobs: {
    settings: { "jobs.max_principal_jobs": 1 },
    hit: secondJob,
    told: named(TOO_MANY, "max_principal_jobs", { present: 1 }),
  },
  max_principal_bytes: {
    settings: { "jobs.max_principal_bytes": 3000 },
    hit: secondJob,
    told: named(TOO_MANY, "max_principal_bytes"),
  },
  max_log_bytes: {
    settings: { "jobs.max_log_bytes": 2000 },
    hit: async (outside) => logOf(outside, await run(outside, "seq 1 2000")),
    told: matching(/log cut: the limit of 2000 bytes is reached/u),
  },
  max_log_line_bytes: {
    settings: { "jobs.max_log_line_bytes": 256 },
    hit: async (outside) => logOf(outside, await run(outside, "head -c 600 /dev/zero | tr '\\0' x; echo")),
    told: matching(/the line of 600 bytes ends here/u),
  },
  max_result_bytes: {
    settings: { "jobs.max_result_bytes": 1024 },
    async hit(outside) {
      const id = await run(outside, 'head -c 1025 /dev/zero > "$HORUS_RESULT"');
      return outside.client.call("get_job", { id });
    },
    told: { state: "failed", reason: "result too large: 1025 bytes, max_result_bytes is 1024" },
  },
  kill_grace_ms: {
    settings: { "jobs.kill_grace_ms": 100 },
    async hit(outside) {
      await outside.startRunner();
      const payload = "trap 'echo asked' TERM; while true; do sleep 0.05; done";
      const id = await outside.submit({ payload, timeout: 1 });
      return [await ended(outside, id), await logOf(outside, id)];
    },
    told: [expect.objectContaining({ state: "timeout" }), matching(/asked/u)],
  },
  lease_ms: {
    settings: { "jobs.lease_ms": 500, "jobs.reap_interval_ms": 50 },
    async hit(outside) {
      const id = await outside.loseJob({ on_loss: "fail" });
      return ended(outside, id);
    },
    told: { state: "failed", losses: 1, attempt: 1 },
  },
  reap_interval_ms: {
    settings: { "jobs.reap_interval_ms": 50 },
    async hit(outside) {
      await outside.register();
      const id = await outside.submit({ expires_at: Math.floor(Date.now() / 1000) + 2 });
      return ended(outside, id);
    },
    told: { state: "expired" },
  },
  retry_base_ms: {
    settings: { "jobs.retry_base_ms": 1_000_000, "jobs.retry_max_ms": 3_600_000 },
    async hit(outside) {
      await outside.startRunner();
      const id = await outside.submit({ payload: "exit 1", max_attempts: 2 });
      await waitUntil(async () => (await outside.client.call("get_job", { id })).failures === 1);
      const { state, ready_ms: readyMs = 0, admitted_ms: admittedMs } = await outside.client.call("get_job", { id });
      return { state, isLate: readyMs - admittedMs > 250_000 };
    },
    told: { state: "pending", isLate: true },
  },
  retry_max_ms: {
    settings: { "jobs.retry_base_ms": 1_000_000, "jobs.retry_max_ms": 1 },
    async hit(outside) {
      await outside.startRunner();
      return ended(outside, await outside.submit({ payload: "exit 1", max_attempts: 2 }));
    },
    told: { state: "failed", failures: 2 },
  },
  retention_seconds: {
    settings: { "jobs.retention_seconds": 1, "jobs.reap_interval_ms": 50 },
    hit: async (outside) => gone(outside, 1),
    told: { code: -32_004 },
  },
  retention_jobs: {
    settings: { "jobs.retention_jobs": 1, "jobs.reap_interval_ms": 50 },
    hit: async (outside) => gone(outside, 2),
    told: { code: -32_004 },
  },
  retention_bytes: {
    settings: { "jobs.retention_bytes": 1024 * 1024, "jobs.reap_interval_ms": 50 },
    hit: async (outside) => gone(outside, 5, "x".repeat(256 * 1024)),
    told: { code: -32_004 },
  },
};

/** The first of so many cancelled jobs: how it is answered for once it is kept no longer. */
async function gone(outside: Outside, count: number, payload = "true"): Promise<unknown> {
  await outside.register();
  const ids: string[] = [];
  for (let index = 0; index < count; index += 1) {
    const id = await outside.submit({ payload });
    ids.push(id);
    await outside.client.call("cancel_job", { id });
  }
  const [first = ""] = ids;
  let answer: unknown;
  const ask = async (): Promise<boolean> => {
    answer = await outside.client.call("get_job", { id: first }).then(
      () => undefined,
      (error: unknown) => error,
    );
    return answer !== undefined;
  };
  await waitUntil(ask);
  return answer;
}

/** `section.name = value` as TOML. */
function toToml(settings: Case["settings"]): string {
  return Object.entries(settings)
    .map(([path, value]) => `${path} = ${value}\n`)
    .join("");
}

describe("A limit that is met from outside", () => {
  test("is one of x-limits, and each of them is here", async () => {
    const document: unknown = JSON.parse(await readFile(new URL("../../openrpc.json", import.meta.url), "utf8"));

    expect(Object.keys(CASES).toSorted()).toEqual(Object.keys(Limits.Parse(document)["x-limits"]).toSorted());
  });

  test.each(Object.entries(CASES))(
    "holds, and the answer tells which it was: %s",
    async (_name, { settings, hit, told }) => {
      await using outside = await Outside.start(toToml(settings));

      const answer = await hit(outside);

      // Whatever it is: text and numbers too.
      expect({ answer }).toMatchObject({ answer: told });
    },
  );
});
