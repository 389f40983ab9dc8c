import { describe, expect, test } from "vitest";

import { isGranted, missingApprovals, reachOf } from "../../../src/auth/policy.ts";
import { type Reach, type Role, ROLES } from "../../../src/rpc/method.ts";
import { type MethodName, METHODS } from "../../../src/rpc/methods.ts";

type Row = Readonly<Partial<Record<Role, Reach>>>;

/** The whole policy (spec: signing, "Policy"), written down a second time: a change of the table must be meant. */
const POLICY: Readonly<Record<MethodName, Row>> = {
  create_job: { submitter: "own" },
  get_job: { submitter: "own", observer: "redacted", admin: "all" },
  list_jobs: { submitter: "own", observer: "redacted", admin: "all" },
  wait_job: { submitter: "own", observer: "redacted", admin: "all" },
  get_job_logs: { submitter: "own", admin: "all" },
  cancel_job: { submitter: "own", admin: "all" },
  delete_job: { submitter: "own", admin: "all" },
  register_runner: { runner: "own", registrar: "all", admin: "all" },
  list_runners: { submitter: "own", runner: "own", registrar: "all", observer: "all", admin: "all" },
  get_runner_status: { submitter: "own", runner: "own", registrar: "all", observer: "all", admin: "all" },
  remove_runner: { runner: "own", registrar: "all", admin: "all" },
  whoami: { submitter: "own", runner: "own", registrar: "own", observer: "own", admin: "own" },
  list_peers: { observer: "all", admin: "all" },
  auth_login: { submitter: "own", runner: "own", registrar: "own", observer: "own", admin: "own" },
  subscribe_job: { submitter: "own", observer: "redacted", admin: "all" },
  unsubscribe_job: { submitter: "own", observer: "redacted", admin: "all" },
  auth_challenge: {},
  get_info: {},
  "rpc.discover": {},
};

describe("the policy matrix", () => {
  test("names every method", () => {
    expect(Object.keys(METHODS).toSorted()).toEqual(Object.keys(POLICY).toSorted());
  });

  test.each(Object.entries(METHODS))(
    "%s: each role reaches as far as the spec says",
    (name, { access, credential }) => {
      const row = new Map(Object.entries(POLICY)).get(name) ?? {};

      expect(Object.fromEntries(ROLES.map((role) => [role, reachOf([role], access)]))).toEqual(
        Object.fromEntries(ROLES.map((role) => [role, row[role]])),
      );
      // Without a credential there is nobody to grant anything to.
      expect(credential === "none").toBe(Object.keys(row).length === 0);
    },
  );
});

describe("reachOf", () => {
  test("denies by default", () => {
    expect(reachOf([], { admin: "all" })).toBeUndefined();
    expect(reachOf([...ROLES], {})).toBeUndefined();
  });

  test("takes the farthest of several roles, in any order", () => {
    const access = { submitter: "own", observer: "redacted", admin: "all" } as const;

    expect(reachOf(["submitter", "observer"], access)).toBe("redacted");
    expect(reachOf(["observer", "submitter"], access)).toBe("redacted");
    expect(reachOf(["admin", "submitter"], access)).toBe("all");
  });
});

describe("missingApprovals", () => {
  test.each([
    [["ops", "security"], 2, ["ops", "security", "alice"], 0],
    [["ops", "security"], 2, ["ops", "alice"], 1],
    [["ops", "security"], 2, ["alice", "bob"], 2],
    [["ops", "security"], 1, ["security"], 0],
    // One who signs with many keys is one.
    [["ops", "security"], 2, ["ops", "ops", "ops"], 1],
    [["ops", "security", "root"], 2, ["ops", "security", "root"], 0],
    [["ops"], 1, ["Ops", "ops "], 1],
    [["ops"], 1, [], 1],
  ])("of %j at least %d, signed by %j: %d", (principals, atLeast, signers, missing) => {
    expect(missingApprovals({ principals, atLeast }, signers)).toBe(missing);
  });
});

describe("isGranted", () => {
  test.each([
    [["build"], "build", true],
    [["build"], "builder", false],
    [["build"], "buil", false],
    [["gpu-*"], "gpu-1", true],
    [["gpu-*"], "gpu-", true],
    [["gpu-*"], "gpu", false],
    [["gpu-*"], "my-gpu-1", false],
    [["*"], "anything", true],
    [[], "build", false],
    [["x", "build"], "build", true],
  ])("%j grants %s: %s", (patterns, name, expected) => {
    expect(isGranted(patterns, name)).toBe(expected);
  });
});
