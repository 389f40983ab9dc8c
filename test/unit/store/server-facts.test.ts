import { describe, expect, test } from "vitest";

import { durabilityProblem, judgeServer, parseInfo, replicaCount } from "../../../src/store/server-facts.ts";

const GOOD = { redis_version: "7.0.15", maxmemory_policy: "noeviction", aof_enabled: "1" };

function judge(info: Readonly<Record<string, string>>, appendFsync?: string): ReturnType<typeof judgeServer> {
  const facts = { info: new Map(Object.entries({ ...GOOD, ...info })) };
  return judgeServer(appendFsync === undefined ? facts : { ...facts, appendFsync });
}

describe("parseInfo()", () => {
  test("reads names and values, and passes headings by", () => {
    expect(parseInfo("# Server\r\nredis_version:7.0.15\r\nexecutable:/a:b\r\n\r\n")).toEqual(
      new Map([
        ["redis_version", "7.0.15"],
        ["executable", "/a:b"],
      ]),
    );
  });
});

describe("judgeServer()", () => {
  test.each([
    [{ redis_version: "7.0.0" }, undefined],
    [{ redis_version: "8.2.1" }, undefined],
    [{ redis_version: "6.2.14" }, "Redis 6.2.14 is too old. Install Redis 7.0 or newer."],
    [{ redis_version: "7.2.4", valkey_version: "7.2.5" }, undefined],
    [{ redis_version: "7.2.4", valkey_version: "8.1.0" }, undefined],
    [{ redis_version: "7.2.4", valkey_version: "7.1.9" }, "Valkey 7.1.9 is too old. Install Valkey 7.2 or newer."],
  ])("knows which versions serve: %j", (info, problem) => {
    const { refusals, problems } = judge(info, "always");
    expect(refusals).toEqual(problem === undefined ? [] : [problem]);
    expect(problems).toEqual(refusals);
  });

  test("refuses any policy but noeviction", () => {
    expect(judge({ maxmemory_policy: "volatile-lru" }).refusals.join()).toMatch(/maxmemory-policy is volatile-lru/u);
  });

  test("turns red for a disk that can not be written, without refusing", () => {
    const { problems, refusals } = judge({ aof_last_write_status: "err", rdb_last_bgsave_status: "ok" }, "always");
    expect(problems.join()).toMatch(/aof_last_write_status is err/u);
    expect(refusals).toEqual([]);
  });

  test.each([
    ["0", undefined, "memory", 1],
    ["0", "always", "memory", 1],
    ["1", "no", "memory", 0],
    ["1", "everysec", "everysec", 0],
    ["1", "always", "always", 0],
    ["1", undefined, "memory", 1],
  ])("states durability, never guesses it: append-only %s, fsync %s", (aof, fsync, durability, warnings) => {
    const verdict = judge({ aof_enabled: aof }, fsync);
    expect(verdict.durability).toBe(durability);
    expect(verdict.warnings).toHaveLength(warnings);
  });
});

describe("durabilityProblem()", () => {
  test.each([
    ["memory", "memory", 0, undefined],
    ["everysec", "always", 0, undefined],
    ["always", "everysec", 0, /Redis gives everysec/u],
    ["everysec", "memory", 0, /appendfsync everysec/u],
    ["replicated(2)", "memory", 2, undefined],
    ["replicated(2)", "always", 1, /1 replicas are connected/u],
  ] as const)("%s on %s with %i replicas", (wanted, gives, replicas, problem) => {
    const verdict = judge({ aof_enabled: gives === "memory" ? "0" : "1" }, gives);
    expect(durabilityProblem(wanted, verdict, replicas) ?? "fine").toMatch(problem ?? /^fine$/u);
  });

  test("takes the operator's word where the server may not be asked", () => {
    expect(durabilityProblem("always", judge({ aof_enabled: "1" }), 0)).toBeUndefined();
    expect(durabilityProblem("always", judge({ aof_enabled: "0" }), 0)).toMatch(/gives memory/u);
  });
});

describe("replicaCount()", () => {
  test.each([
    ["auto", 0],
    ["always", 0],
    ["replicated(3)", 3],
  ])("reads %s", (durability, count) => {
    expect(replicaCount(durability)).toBe(count);
  });
});
