import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";

import { type Console, startConsole } from "../../support/command-line.ts";
import { waitUntil } from "../../support/wait.ts";

const UNKNOWN = "0190a3b2-7c4d-7e5f-8a9b-000000000000";

let system: Console;
/** A job that has completed. */
let done = "";
beforeAll(async () => {
  system = await startConsole();
  await system.startRunner("demo");
  done = await submit("echo one; echo two >&2; echo three; printf result > $HORUS_RESULT", "--context", "first");
  await system.run(["job", "wait", done]);
});
afterAll(async () => {
  await system[Symbol.asyncDispose]();
});

async function submit(payload: string, ...words: readonly string[]): Promise<string> {
  return (await system.run(["submit", "--runner", "demo", "--payload", payload, ...words])).stdout.trim();
}

/** Ids of the listed jobs. */
async function listed(...words: readonly string[]): Promise<readonly string[]> {
  const { stdout } = await system.run(["job", "list", "--json", ...words]);
  return [...stdout.matchAll(/"id":"([0-9a-f-]{36})"/gu)].map(([, id = ""]) => id);
}

describe("supervisor job get", () => {
  test("shows a job to people, a fact a line", async () => {
    const { code, stdout } = await system.run(["job", "get", done]);

    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`^id {9}${done}\nstate {6}completed\nexit code {2}0\nowner {6}owner\n`, "u"));
    expect(stdout).toMatch(/^attempts {3}1 \(0 failed, 0 lost\)$/mu);
    expect(stdout).toMatch(/^started {4}\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/mu);
    expect(stdout).toMatch(/^receipt {4}signed by ed25519:[0-9a-f]{64}$/mu);
    expect(stdout).toMatch(/^result {5}result$/mu);
  });

  test("gives scripts the whole job as one line of JSON", async () => {
    const { stdout } = await system.run(["job", "get", done, "--json"]);

    expect(stdout.trimEnd()).not.toContain("\n");
    expect(JSON.parse(stdout)).toMatchObject({ id: done, state: "completed", job: { context_id: "first" } });
  });

  test("of a job that nobody has says so, with the way to the ones there are", async () => {
    const { code, stdout, stderr } = await system.run(["job", "get", UNKNOWN]);

    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^error: the supervisor answered -32004: Not found.*supervisor job list\.\n$/u);
  });
});

describe("supervisor job list", () => {
  test("is a table of jobs, newest first", async () => {
    const second = await submit("exit 3");
    await system.run(["job", "wait", second]);

    const { stdout } = await system.run(["job", "list"]);

    const [header, ...rows] = stdout.trimEnd().split("\n");
    expect(header).toMatch(/^ID +STATE +QUEUE +RUNNER +ADMITTED +CODE +REASON$/u);
    expect(rows[0]).toMatch(new RegExp(`^${second} +failed +demo +demo +\\S+ \\S+ +3`, "u"));
    expect(rows.at(-1)).toContain(done);
  });

  test("filters by state, runner and context, and takes no more than asked for", async () => {
    await expect(listed("--state", "completed", "--context", "first")).resolves.toEqual([done]);
    await expect(listed("--state", "expired")).resolves.toEqual([]);
    await expect(listed("--runner", "demo", "--context", "first")).resolves.toEqual([done]);
    await expect(listed("--all", "--context", "first")).resolves.toEqual([done]);
    await expect(listed("--limit", "1")).resolves.toHaveLength(1);
  });

  test("turns pages until it has as many as asked for", async () => {
    const ids: string[] = [];
    for (let count = 0; count < 3; count += 1)
      ids.unshift(await submit("true", "--context", "pages", "--delay", "600"));

    const { stdout } = await system.run(["job", "list", "--context", "pages", "--limit", "300"]);

    expect(stdout.match(/^[0-9a-f-]{36}/gmu)).toEqual(ids);
    for (const id of ids) await system.run(["job", "cancel", id]);
  });
});

describe("supervisor job wait", () => {
  test("prints the end and exits 0 when the job completed", async () => {
    await expect(system.run(["job", "wait", done])).resolves.toEqual({
      code: 0,
      stdout: `${done} completed on demo exit code 0\n`,
      stderr: "",
    });
  });

  test("waits for the end, and exits 1 when the job did not complete", async () => {
    const id = await submit("sleep 0.3; exit 3");

    const { code, stdout } = await system.run(["job", "wait", id, "--json"]);

    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ id, state: "failed", code: 3 });
  });

  test("ends at Ctrl-C, and says that the job goes on", async () => {
    const id = await submit("sleep 60");
    const line = system.start(["job", "wait", id]);
    await waitUntil(async () => (await system.json(["job", "get", id]))["state"] === "running");

    line.terminal.interrupt();

    await expect(line.ended).resolves.toBe(1);
    expect(line.terminal.stdout).toBe("");
    expect(line.terminal.stderr).toContain(`The job goes on without us. Look: supervisor job get ${id}`);
    await system.run(["job", "cancel", id]);
    await system.run(["job", "wait", id]);
  });
});

describe("supervisor job logs", () => {
  test("prints what the job wrote, each stream on ours", async () => {
    const { code, stdout, stderr } = await system.run(["job", "logs", done]);

    expect({ code, stdout }).toEqual({ code: 0, stdout: "one\nthree\n" });
    expect(stderr).toMatch(/^two$/mu);
  });

  test("begins at a position", async () => {
    const all = await system.run(["job", "logs", done, "--json"]);
    const entries = all.stdout.trimEnd().split("\n");

    const { stdout } = await system.run(["job", "logs", done, "--json", "--from", "1"]);

    expect(stdout.trimEnd().split("\n")).toEqual(entries.slice(1));
    expect(JSON.parse(entries[0] ?? "")).toMatchObject({ attempt: 1, seq: 1 });
  });

  test("follows a job until its end", async () => {
    const id = await submit("for i in 1 2 3; do echo step $i; sleep 0.2; done");

    const { code, stdout } = await system.run(["job", "logs", id, "--follow"]);

    expect({ code, stdout }).toEqual({ code: 0, stdout: "step 1\nstep 2\nstep 3\n" });
  });
});

describe("what is not the job's own in a log", () => {
  test("stands in brackets on standard error: from the second on, which attempt wrote the lines", async () => {
    const id = await submit("echo in $HORUS_ATTEMPT; exit 1", "--max-attempts", "3");
    await system.run(["job", "wait", id]);

    const whole = await system.run(["job", "logs", id]);
    const tail = await system.run(["job", "logs", id, "--from", "1", "--follow"]);
    const json = await system.run(["job", "logs", id, "--json"]);

    expect(whole).toEqual({ code: 0, stdout: "in 1\nin 2\nin 3\n", stderr: "[attempt 2]\n[attempt 3]\n" });
    expect(tail).toEqual({ code: 0, stdout: "in 2\nin 3\n", stderr: "[attempt 2]\n[attempt 3]\n" });
    expect([...json.stdout.matchAll(/"attempt":(\d)/gu)].map(([, attempt]) => attempt)).toEqual(["1", "2", "3"]);
  });

  test("stands in brackets on standard error: where the log was cut, and where a line was split", async () => {
    const small = await startConsole("[jobs]\nmax_log_bytes = 100000\n");
    onTestFinished(async () => small[Symbol.asyncDispose]());
    await small.startRunner("demo");
    const payload = "head -c 20000 /dev/zero | tr '\\0' x; echo; yes flood | head -c 300000; echo the end >&2";

    const line = await small.run(["submit", "--runner", "demo", "--follow", "--payload", payload]);

    expect(line.code).toBe(0);
    expect(line.stderr).toMatch(/^\[stdout: a line too long for one entry begins here\]$/mu);
    expect(line.stderr).toMatch(
      /^\[log cut: the supervisors' limit is reached, below this runner's own of 10485760 bytes\]$/mu,
    );
    expect(line.stderr).toMatch(/^\[after the cut [^\n]*\]$/mu);
    expect(line.stdout.length).toBeLessThan(100_000);
  });
});

describe("supervisor job cancel and delete", () => {
  test("cancel a running job, and then delete every trace of it, once and again", async () => {
    const id = await submit("sleep 60");
    await waitUntil(async () => (await system.json(["job", "get", id]))["state"] === "running");

    const refused = await system.run(["job", "delete", id]);
    const cancelled = await system.run(["job", "cancel", id]);
    await system.run(["job", "wait", id]);
    const deleted = await system.run(["job", "delete", id]);
    const again = await system.json(["job", "delete", id]);

    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/-32010: .*\(it is running\)\. /u);
    expect(cancelled).toMatchObject({ code: 0, stdout: `${id} running (cancelling) on demo\n` });
    expect(deleted).toMatchObject({ code: 0, stdout: `deleted ${id}\n` });
    expect(again).toMatchObject({ id });
  });

  test("cancel a waiting job at once", async () => {
    const id = await submit("true", "--delay", "600");

    const { code, stdout } = await system.run(["job", "cancel", id, "--json"]);

    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ id, state: "cancelled" });
  });
});

describe("supervisor whoami and peers", () => {
  test("say what the supervisor knows of our key, and which nodes it has seen", async () => {
    const known = await system.run(["whoami"]);
    const seen = await system.run(["peers"]);

    expect(known.stdout).toMatch(
      /^key {8}ed25519:[0-9a-f]{64}\nname {7}owner\nprincipal {2}owner\nroles {6}submitter, runner, registrar, observer, admin\nrunners {4}\*\n$/u,
    );
    expect(seen).toEqual({ code: 0, stdout: "NODE  ADDRESS  LAST MESSAGE  CALLS  REFUSED  ROUND TRIP\n", stderr: "" });
    await expect(system.json(["whoami"])).resolves.toMatchObject({ principal: "owner" });
  });
});
