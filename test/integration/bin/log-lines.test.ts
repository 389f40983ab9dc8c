/** What a supervisor and a runner write while they work: known events alone, found by request id and by trace. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { createSigner } from "../../../src/auth/signature.ts";
import { buildJob, RpcError, signJob, SupervisorClient } from "../../../src/client/index.ts";
import { LOG_EVENTS } from "../../../src/log-events.ts";
import { dial } from "../../../transports/dial.ts";
import { type Console, type RunningLine, startConsole, untilWritten } from "../../support/command-line.ts";

const TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const SETTINGS = '[log]\nlevel = "debug"\n[jobs]\nreap_interval_ms = 100\n';
const EVENTS = new Set(Object.values(LOG_EVENTS).flatMap((events) => Object.keys(events)));

let system: Console;
let runner: RunningLine;
let traced: string;
let waiting: string;
let failure: RpcError;

type Line = Readonly<Record<string, unknown>>;

function objectOf(value: unknown): Line {
  if (typeof value !== "object" || value === null) throw new TypeError(`no object: ${String(value)}`);
  return { ...value };
}

function linesOf({ terminal }: RunningLine): readonly Line[] {
  return terminal.stderr
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => objectOf(JSON.parse(line)));
}

/** What happened to a job, and the trace each line of it carries. */
function about(lines: readonly Line[], id: string, member: string): readonly unknown[] {
  return lines
    .filter((line) => line[member] === id)
    .map((line) => [line["what"] ?? line["event"], line["traceparent"]]);
}

/** A day in the life: jobs, refusals, a defect, and the loss of Redis. */
beforeAll(async () => {
  system = await startConsole(SETTINGS);
  runner = await system.startRunner("demo", ["--log-level", "debug"]);
  const { identity: supervisor } = await system.json(["whoami"]).then(() => readIdentity());
  const secret = await readFile(join(system.dataDirectory, "owner.key"), "utf8");
  const signer = createSigner(secret);
  const client = new SupervisorClient({ dialer: dial(system.url), signer, supervisor });
  const submit = async (members: { readonly not_before?: number } = {}): Promise<string> => {
    const job = { supervisor, caller: signer.publicKey, runner: "demo", payload: "echo hi", traceparent: TRACE };
    return (await client.submitJob(await signJob(signer, buildJob({ ...job, ...members })))).id;
  };

  traced = await submit();
  await untilWritten(runner, /"event":"attempt_ended"/u);
  waiting = await submit({ not_before: Math.floor(Date.now() / 1000) + 60 });
  await client.call("cancel_job", { id: waiting });
  await client.call("delete_job", { id: waiting });
  await fetch(system.url, { method: "POST", headers: { "content-type": "application/json" }, body: "{" });
  await fetch(system.url, { method: "POST", headers: { "content-type": "text/plain" }, body: "{}" });
  await client.call("get_job", { id: waiting }).catch(() => undefined);
  const redis = system.redis.client();
  const [key = ""] = await redis.keys(`*:job:${traced}`);
  await redis.hset(key, "document", "not ours");
  failure = await client.call("get_job", { id: traced }).then(
    () => expect.unreachable(),
    (error: unknown) => (error instanceof RpcError ? error : expect.unreachable()),
  );
  await system.redis.stop();
  await untilWritten(system.supervisor, /"event":"maintenance_failed"/u);
  await untilWritten(runner, /"event":"source_down"/u);
});

afterAll(async () => {
  await system[Symbol.asyncDispose]();
});

async function readIdentity(): Promise<{ identity: string }> {
  const [, identity = ""] = await untilWritten(system.supervisor, /"identity":"(ed25519:[0-9a-f]{64})"/u);
  return { identity };
}

describe("The lines of a running supervisor and its runner", () => {
  test("carry an event of the table, a time and a message, and nothing else stands among them", () => {
    for (const line of [...linesOf(system.supervisor), ...linesOf(runner)]) {
      expect(EVENTS).toContain(line["event"]);
      expect(line["msg"]).toMatch(/./u);
      expect(line["time"]).toBeTypeOf("number");
    }
    const seen = new Set(linesOf(system.supervisor).map((line) => line["event"]));
    const wanted = ["started", "audit", "call_failed", "http_listening", "keyring_loaded", "maintenance_failed"];
    expect(wanted.filter((event) => !seen.has(event))).toEqual([]);
  });

  test("carry the id of the request they belong to, which is the one an internal error tells", () => {
    const ofCalls = linesOf(system.supervisor).filter(
      (line) => line["event"] === "call_failed" || (line["event"] === "audit" && line["code"] !== undefined),
    );
    expect(ofCalls.length).toBeGreaterThan(4);
    for (const line of ofCalls) expect(line["request_id"]).toMatch(/^[0-9a-f-]{36}$/u);

    const { request_id } = objectOf(failure.data);
    expect(failure).toMatchObject({ code: -32603, message: "Internal error" });
    const lines = linesOf(system.supervisor).filter((line) => line["request_id"] === request_id);
    expect(lines.map((line) => line["event"])).toEqual(["call_failed", "audit"]);
  });

  test("carry the trace of the job they are about", () => {
    const decisions = ["create_job", "cancel_job", "delete_job"];
    expect(about(linesOf(system.supervisor), waiting, "job").slice(0, 3)).toEqual(
      decisions.map((what) => [what, TRACE]),
    );
    expect(about(linesOf(runner), traced, "jobId")).toEqual([
      ["attempt_started", TRACE],
      ["attempt_ended", TRACE],
    ]);
  });
});
