import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { describe, expect, onTestFinished, test } from "vitest";

import { runnerUser, supervisorUser, toAclLine } from "../../../src/store/redis-acl.ts";
import { runLine } from "../../support/command-line.ts";
import type { Ran } from "../../support/program.ts";
import { startRedis } from "../../support/redis.ts";

const BUILD = ["--runner", "build-1", "--groups", "build,gpu"];

async function aDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "horus-acl-"));
  onTestFinished(async () => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Where neither Redis nor keys are: the rules follow from settings alone. */
async function doctor(words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> {
  return runLine(["doctor", ...words], { env: { SUPERVISOR_DATA_DIR: await aDirectory(), ...env } });
}

describe("supervisor doctor --acl", () => {
  test("prints the users of the supervisor and of a runner, a line each, and beside them how to use them", async () => {
    const { code, stdout, stderr } = await doctor(["--acl", ...BUILD]);

    const scope = { url: "redis://127.0.0.1:6379", prefix: "horus" };
    const runner = runnerUser(scope, { name: "build-1", groups: ["build", "gpu"] });
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: `${toAclLine(supervisorUser(scope))}\n${toAclLine(runner)}\n`,
    });
    expect(stdout).toMatch(/^ACL SETUSER horus-runner-build-1 .* ~horus:\{s\*\}:q:gpu .* &horus:hint:gpu /mu);
    for (const line of stderr.trim().split("\n")) expect(line).toMatch(/^# /u);
  });

  test("goes by the settings' prefix and way to Redis, and shows nothing of the login in them", async () => {
    const file = join(await aDirectory(), "settings.toml");
    await writeFile(file, '[redis]\nprefix = "team"\nurl = "redis+cluster://root:hunter2@10.0.0.5:7000"\n');

    const { stdout, stderr } = await doctor(["--acl", "--config", file, ...BUILD]);

    expect(stdout).toMatch(/^ACL SETUSER team-supervisor .*\+cluster\|slots .*~team:\* &team:hint:\* /mu);
    expect(stdout).toMatch(/^ACL SETUSER team-runner-build-1 .*\+cluster\|slots .*~team:\{s\*\}:q:build-1 /mu);
    expect(stdout + stderr).not.toMatch(/hunter2|root|horus:/u);
  });

  test("prints a form where no runner is named, and JSON for scripts", async () => {
    const { stdout } = await doctor(["--acl", "--json"]);

    const scope = { url: "redis://127.0.0.1:6379", prefix: "horus" };
    const form = runnerUser(scope, { name: "NAME", groups: ["GROUP"] });
    expect(JSON.parse(stdout)).toEqual([supervisorUser(scope), form]);
    expect(form.rules).toEqual(expect.arrayContaining(["~horus:{s*}:q:GROUP", "&horus:cancel:NAME"]));
  });

  test("is taken by redis-cli as it is; new users are off, and rules change without the password", async () => {
    const redis = await startRedis();
    const admin = redis.client();
    const secret = join(await aDirectory(), "password");
    await writeFile(secret, "correct horse\n");
    const shell = async (command: string, input = ""): Promise<string> => {
      const script = command.replaceAll("redis-cli", `redis-cli -s ${redis.socket}`);
      const running = promisify(execFile)("bash", ["-euc", script]);
      running.child.stdin?.end(input);
      return (await running).stdout;
    };
    const printed = await doctor(["--acl", ...BUILD]);

    expect(await shell("redis-cli", printed.stdout)).toBe("OK\nOK\n");
    const user = redis.client();
    await expect(user.auth("horus-runner-build-1", "correct horse")).rejects.toThrow(/WRONGPASS/u);
    await expect(user.auth("horus-supervisor", "")).rejects.toThrow(/WRONGPASS/u);
    // What the advice says, word for word.
    const [, advised = ""] = /^# +(printf .*)$/mu.exec(printed.stderr) ?? [];
    const command = advised.replace("FILE", secret).replace(" USER ", " horus-runner-build-1 ");
    expect(await shell(command)).toBe("OK\n");
    expect(await user.auth("horus-runner-build-1", "correct horse")).toBe("OK");
    expect(await user.call("ZRANGE", "horus:{s0}:q:gpu", "0", "-1")).toEqual([]);

    const fewer = await doctor(["--acl", "--runner", "build-1", "--groups", "build"]);
    expect(await shell("redis-cli", fewer.stdout)).toBe("OK\nOK\n");
    expect(await user.auth("horus-runner-build-1", "correct horse")).toBe("OK");
    await expect(user.call("ZRANGE", "horus:{s0}:q:gpu", "0", "-1")).rejects.toThrow(/NOPERM/u);
    expect(String(await admin.call("ACL", "LIST"))).toMatch(/user horus-supervisor off (?!.*nopass)/u);
  });

  test.each([
    ["a name that would be a rule", ["--acl", "--runner", "a ~*"], '--runner "a ~*": a name is up to 64 of a-z'],
    ["a pattern for a name", ["--acl", "--runner", "*"], '--runner "*": a name is up to 64 of a-z'],
    ["an empty group", ["--acl", "--runner", "a", "--groups", "b,"], '--groups "": a name is up to 64 of a-z'],
    ["groups of nobody", ["--acl", "--groups", "b"], "--groups are a runner's: give --runner NAME as well."],
    ["a runner without --acl", ["--runner", "a"], "--runner goes with --acl."],
  ])("refuses %s", async (_what, words, says) => {
    const { code, stdout, stderr } = await doctor(words);

    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(says);
  });
});
