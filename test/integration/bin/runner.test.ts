import { access, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { freePort } from "../../../bin/demo/port.ts";
import { type Console, startConsole, untilWritten } from "../../support/command-line.ts";
import { startRedis } from "../../support/redis.ts";
import { meanwhile, waitUntil } from "../../support/wait.ts";

let system: Console;
beforeAll(async () => {
  system = await startConsole("[jobs]\nlease_ms = 2000\n");
});
afterAll(async () => {
  await system[Symbol.asyncDispose]();
});

/** As another process of this name would. */
async function beat(name: string, heartbeatMs: number): Promise<void> {
  await system.redis.client().hset(`horus:{s0}:beat:${name}`, { process: "another", heartbeat_ms: heartbeatMs });
}

async function redisMs(): Promise<number> {
  const [seconds, micros] = await system.redis.client().time();
  return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
}

/** Another Redis with a copy of what the supervisor says of itself, and of nothing else. */
async function redisOf(identity?: string): Promise<string> {
  const meta = await system.redis.client().hgetall("horus:meta");
  const other = await startRedis();
  await other.client().hset("horus:meta", { ...meta, ...(identity === undefined ? {} : { identity }) });
  return other.url;
}

describe("supervisor runner register", () => {
  test("enrols a key that it makes, with groups, executors and slots", async () => {
    const words = ["--group", "build", "--group", "gpu", "--executor", "bash", "--slots", "4"];

    const { code, stdout } = await system.run(["runner", "register", "build-1", ...words]);

    expect(code).toBe(0);
    expect(stdout).toMatch(/^name {7}build-1\nstate {6}offline\nversion {4}-\nkey {8}ed25519:[0-9a-f]{64}\n/u);
    expect(stdout).toMatch(/^groups {5}build, gpu$/mu);
    expect(stdout).toMatch(/^executors {2}bash$/mu);
    expect(stdout).toMatch(/^slots {6}0 of 4 taken$/mu);
    await expect(access(join(system.dataDirectory, "runners", "build-1.key"))).resolves.toBeUndefined();
  });

  test("gives scripts the runner as JSON, with the same key each time", async () => {
    const first = await system.json(["runner", "register", "twice"]);
    const second = await system.json(["runner", "register", "twice", "--slots", "2"]);

    expect(second).toMatchObject({ name: "twice", key: first["key"], slots: 2 });
  });
});

describe("supervisor runner list, status and remove", () => {
  test("show runners with their health, and end an enrolment", async () => {
    await system.run(["runner", "register", "old"]);

    const listed = await system.run(["runner", "list"]);
    const status = await system.run(["runner", "status", "old"]);
    const removed = await system.run(["runner", "remove", "old"]);
    const gone = await system.run(["runner", "status", "old"]);

    expect(listed.stdout).toMatch(/^NAME +STATE +GROUPS +SLOTS +RUNNING +WAITING +LAST HEARTBEAT$/mu);
    expect(listed.stdout).toMatch(/^old +offline +- +1 +0 +0 +-$/mu);
    expect(status.stdout).toMatch(/^heartbeat {2}-$/mu);
    expect(removed).toMatchObject({ code: 0, stdout: "removed old, 0 jobs cancelled\n" });
    expect(gone.code).toBe(1);
    expect(gone.stderr).toMatch(/Not found\. Runners that this key may see: supervisor runner list\.\n$/u);
  });

  test("remove a runner that has waiting jobs only with --force, which cancels them", async () => {
    await system.run(["runner", "register", "busy"]);
    const { id } = await system.json(["submit", "--runner", "busy", "--payload", "true"]);

    const refused = await system.run(["runner", "remove", "busy", "--to", system.url]);
    const status = await system.run(["runner", "status", "busy"]);
    const forced = await system.json(["runner", "remove", "busy", "--force"]);

    expect(refused).toEqual({
      code: 1,
      stdout: "",
      stderr:
        "error: 1 job waits that only busy could take. Start it and let it take them, or cancel them with it: " +
        `supervisor runner remove busy --force --to ${system.url}\n`,
    });
    expect(status.stdout).toMatch(/^waiting {4}1, the oldest for \d+ ms$/mu);
    expect(forced).toMatchObject({ name: "busy", cancelled: 1 });
    await expect(system.json(["job", "get", String(id)])).resolves.toMatchObject({ state: "cancelled" });
  });
});

describe("supervisor runner start", () => {
  test("takes jobs until it is told to stop, and ends what runs first", async () => {
    const runner = await system.startRunner("drains");
    const { id } = await system.json(["submit", "--runner", "drains", "--payload", "sleep 0.5; echo ended"]);
    await waitUntil(async () => (await system.json(["job", "get", String(id)]))["state"] === "running");

    runner.terminal.interrupt();
    const code = await runner.ended;

    expect(code).toBe(0);
    expect(runner.terminal.stderr.split("\n").filter((line) => line.includes("draining"))).toEqual([
      expect.stringMatching(
        /"event":"runner_draining","running":1,"deadline_ms":30000,"reason":".*told again, it ends/u,
      ),
    ]);
    await expect(system.json(["job", "get", String(id)])).resolves.toMatchObject({ state: "completed", losses: 0 });
  });

  test("waits for the lease of a process of its name that was killed, and then takes jobs", async () => {
    await system.run(["runner", "register", "again"]);
    await beat("again", await redisMs());

    const line = system.start(["runner", "start", "again", "--exec", "bash -s"]);
    await untilWritten(line, /"event":"name_taken".*was there a moment ago/u);
    await untilWritten(line, /"event":"runner_started"/u);

    line.terminal.interrupt();
    await expect(line.ended).resolves.toBe(0);
  });

  test("does not wait for one that lives", async () => {
    await system.run(["runner", "register", "lives"]);
    await beat("lives", await redisMs());

    const line = system.start(["runner", "start", "lives", "--exec", "bash -s"]);
    await untilWritten(line, /"event":"name_taken"/u);
    const heard = async (): Promise<void> => beat("lives", await redisMs());

    await meanwhile(100, heard, async () => expect(await line.ended).toBe(1));
    expect(line.terminal.stderr).toMatch(/Runner "lives" is running already .* choose another name/u);
    expect(line.terminal.stderr).not.toContain("runner_started");
  });

  test("waits no longer once it is told to stop", async () => {
    await system.run(["runner", "register", "impatient"]);
    await beat("impatient", await redisMs());

    const line = system.start(["runner", "start", "impatient", "--exec", "bash -s"]);
    await untilWritten(line, /"event":"name_taken"/u);
    line.terminal.interrupt();

    await line.ended;
    expect(line.terminal.stderr).not.toContain("runner_started");
  });

  test("runs the executors of a settings file, for its groups, under its allow-list", async () => {
    const { key } = await system.json(["whoami"]);
    const config = join(system.directory, "runner.toml");
    const allow = join(system.directory, "allow.toml");
    await writeFile(config, '[executor.shout]\ncommand = ["tr", "a-z", "A-Z"]\n');
    await writeFile(allow, `[[allow]]\nprincipal = "owner"\nkey = "${String(key)}"\n`);
    const line = system.start(["runner", "start", "tr-1", "--group", "tr", "--config", config, "--allow", allow]);
    await untilWritten(line, /"event":"runner_started"/u);

    const ran = await system.run(["submit", "--runner", "tr", "--payload", "hello", "--follow"]);

    expect(ran).toMatchObject({ code: 0, stdout: "HELLO\n" });
    line.terminal.interrupt();
    await expect(line.ended).resolves.toBe(0);
  });

  test("goes on with the enrolment it has while the supervisor is away", async () => {
    await system.run(["runner", "register", "alone"]);
    const env = { SUPERVISOR_URL: `http://127.0.0.1:${await freePort()}` };

    const line = system.start(["runner", "start", "alone", "--exec", "bash -s", "--log-level", "warn"], { env });
    await untilWritten(line, /"event":"not_registered_now".*going on with the present enrolment/u);
    const ran = await system.run(["submit", "--runner", "alone", "--payload", "echo served", "--follow"]);

    expect(ran).toMatchObject({ code: 0, stdout: "served\n" });
    expect(line.terminal.stderr).not.toContain("runner_started");
    line.terminal.interrupt();
    await expect(line.ended).resolves.toBe(0);
  });

  test("says what is where the supervisor is away and no enrolment is there", async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    const words = ["runner", "start", "nobody", "--exec", "bash -s"];

    const unknown = await system.run(words, { env: { SUPERVISOR_URL: url } });
    const empty = await system.run(words, {
      env: { SUPERVISOR_URL: url, SUPERVISOR_REDIS_URL: (await startRedis()).url },
    });

    expect([unknown.code, empty.code]).toEqual([3, 3]);
    expect(unknown.stderr).toContain(`error: The supervisor is not running at ${url}. Start it with: `);
    expect(unknown.stderr).toMatch(/Without it: Runner "nobody" is not registered/u);
    expect(unknown.stderr).not.toContain("enrolment");
    expect(empty.stderr).toMatch(/^error: No supervisor has started on .*Start one, or name its Redis/mu);
  });

  test("takes no job for a command that is not there, and names it, by --exec and by a settings file", async () => {
    const config = join(system.directory, "typo.toml");
    await writeFile(config, '[executor.sh]\ncommand = ["bsah", "-s"]\n');

    const short = await system.run(["runner", "start", "typo", "--exec", "bsah -s"]);
    const table = await system.run(["runner", "start", "typo", "--config", config]);

    expect([short.code, table.code]).toEqual([2, 2]);
    expect(short.stderr).toMatch(
      /^error: --exec "bsah -s": every job would fail: no program "bsah" is in the PATH of jobs/u,
    );
    expect(table.stderr).toMatch(/^error: \[executor\.sh\]: every job would fail: no program "bsah"/u);
    expect((await system.run(["runner", "list"])).stdout).not.toMatch(/^typo /mu);
  });

  test.each([
    { redis: "is away", says: /cannot connect to Redis \(.*\)\. Start Redis, or pass --redis-url/u, code: 3 },
    {
      redis: "is another supervisor's",
      says: /belong to the supervisor another, not to ed25519:.*--redis-url/u,
      code: 3,
    },
  ])("leaves no registration behind where Redis $redis", async ({ redis, says, code }) => {
    const other = redis === "is away" ? `redis://127.0.0.1:${await freePort()}` : await redisOf("another");

    const ran = await system.run(["runner", "start", "left", "--exec", "bash -s", "--redis-url", other]);

    expect(ran.code).toBe(code);
    expect(ran.stderr).toMatch(says);
    expect((await system.run(["runner", "list"])).stdout).not.toMatch(/^left /mu);
  });

  test("says what it left at a supervisor that uses another Redis, and how to take it back", async () => {
    const words = [
      "runner",
      "start",
      "astray",
      "--exec",
      "bash -s",
      "--redis-url",
      await redisOf(),
      "--to",
      system.url,
    ];

    const { code, stderr } = await system.run(words);

    expect(code).toBe(1);
    const [, remove = ""] = /^error: .* does not know "astray".*--redis-url.*: (supervisor .*)$/mu.exec(stderr) ?? [];
    expect(remove).toBe(`supervisor runner remove astray --to ${system.url}`);
    await expect(system.run(remove.split(" ").slice(1))).resolves.toMatchObject({ code: 0 });
  });

  test("refuses a name whose runner lives", async () => {
    await system.startRunner("taken");

    const { code, stderr } = await system.run(["runner", "start", "taken", "--exec", "bash -s"]);

    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: Runner "taken" /mu);
    expect(stderr).not.toContain("draining");
  });

  test("shows readable lines where somebody watches", async () => {
    const line = system.start(["runner", "start", "watched", "--exec", "bash -s"], { isInteractive: true });

    await untilWritten(line, /^\d\d:\d\d:\d\d\.\d{3} info runner takes jobs event=runner_started runner=watched$/mu);

    line.terminal.interrupt();
    await expect(line.ended).resolves.toBe(0);
  });
});
