import { describe, expect, test } from "vitest";

import {
  clockCheck,
  latencyCheck,
  memoryCheck,
  rightsCheck,
  serverCheck,
  slotsCheck,
} from "../../../src/store/server-checks.ts";

const GIB = 1024 ** 3;

function info(values: Readonly<Record<string, string | number>>): ReadonlyMap<string, string> {
  return new Map(Object.entries(values).map(([name, value]) => [name, String(value)]));
}

describe("serverCheck", () => {
  test("says version, policy and append-only file, once for servers that are alike", () => {
    const one = { info: info({ redis_version: "7.0.15", maxmemory_policy: "noeviction", aof_enabled: 0 }) };
    const other = {
      info: info({ redis_version: "7.2.4", valkey_version: "8.1.0", maxmemory_policy: "noeviction", aof_enabled: 1 }),
      appendFsync: "always",
    };

    expect(serverCheck([one, one, other]).says).toBe(
      "Redis 7.0.15, maxmemory-policy noeviction, append-only file off; " +
        "Valkey 8.1.0, maxmemory-policy noeviction, append-only file on, always",
    );
  });
});

describe("memoryCheck", () => {
  test.each([
    [{ used_memory: GIB, maxmemory: 4 * GIB }, "good", "1024 MiB of 4096 MiB (maxmemory)"],
    [{ used_memory: GIB, maxmemory: 0, total_system_memory: 4 * GIB }, "good", "in the machine, no maxmemory"],
    [
      { used_memory: 3.5 * GIB, maxmemory: 4 * GIB },
      "warning",
      "nearly full. Raise it (redis-cli -u URL CONFIG SET maxmemory",
    ],
    [{ used_memory: 3.5 * GIB, maxmemory: 0, total_system_memory: 4 * GIB }, "warning", "jobs.retention_seconds"],
    [{ used_memory: 4 * GIB, maxmemory: 4 * GIB }, "fault", "full, new jobs are refused. Raise it"],
    [{}, "good", "0 MiB of 0 MiB (maxmemory)"],
  ])("%j is %s: %s", (values, verdict, says) => {
    const check = memoryCheck([info({ used_memory: 1, maxmemory: 100 }), info(values)]);

    expect(check).toMatchObject({ what: "Redis memory", verdict });
    expect(check.says).toContain(says);
  });
});

describe("latencyCheck", () => {
  test("goes by the median, so that one slow answer is no fault", () => {
    expect(latencyCheck([0.2, 0.31, 900])).toEqual({
      what: "Redis round trip",
      verdict: "good",
      says: "0.3 ms in the median of 3, 900 ms at most",
    });
    const slow = latencyCheck([60, 70, 1]);
    expect(slow.verdict).toBe("warning");
    expect(slow.says).toMatch(/^60 ms .*: move Redis nearer, or find .*redis-cli SLOWLOG GET$/u);
  });
});

describe("clockCheck", () => {
  test.each([
    [4000, "good", "Redis' is 4000 ms ahead of ours"],
    [-4000, "good", "Redis' is 4000 ms behind ours"],
    [6000, "fault", "Redis' is 6000 ms ahead of ours. Set the clocks, with NTP on both machines"],
    [-6000, "fault", "Redis' is 6000 ms behind ours. Set the clocks, with NTP on both machines"],
  ])("%i ms is %s", (differenceMs, verdict, says) => {
    expect(clockCheck(differenceMs)).toEqual({ what: "clock", verdict, says });
  });
});

describe("rightsCheck", () => {
  test("names what is missing and where its rules are, and bears the lack of CONFIG GET", () => {
    expect(rightsCheck("horus", [])).toMatchObject({ verdict: "good" });
    expect(rightsCheck("horus", ["config|get"])).toMatchObject({ verdict: "warning" });
    expect(rightsCheck("horus", ["hset", "config|get"])).toMatchObject({
      verdict: "fault",
      says: "may not hset, config|get on horus:*, as a supervisor must. Give it the rules of: supervisor doctor --acl",
    });
  });
});

describe("slotsCheck", () => {
  const well = { cluster_state: "ok", cluster_slots_assigned: 16_384 };

  test.each([
    [well, "good", "all 16384 slots on 2 masters"],
    [{ ...well, cluster_slots_assigned: 16_000 }, "fault", "16000 of 16384 slots .*Run: redis-cli --cluster fix"],
    [{ ...well, cluster_slots_fail: 5461 }, "fault", "the master of 5461 slots does not answer.*Start it again"],
    [{ ...well, cluster_slots_pfail: 5461 }, "fault", "does not answer"],
    [{ ...well, cluster_state: "fail" }, "fault", "redis-cli --cluster check"],
  ])("%j beside a master that is well is %s: %s", (values, verdict, says) => {
    const check = slotsCheck([info(well), info(values)], 0);

    expect(check).toMatchObject({ what: "Redis Cluster", verdict });
    expect(check.says).toMatch(new RegExp(says, "u"));
  });

  test("believes what did not answer us more than masters that have not noticed yet", () => {
    const check = slotsCheck([info(well), info(well)], 5462);

    expect(check.verdict).toBe("fault");
    expect(check.says).toContain("the master of 5462 slots does not answer");
  });
});
