import { describe, expect, test } from "vitest";

import type { Approvals, Caller } from "../../../src/auth/policy.ts";
import { SupervisorError } from "../../../src/errors.ts";
import { EXAMPLE_KEYS, RUNNER_DOCUMENT, SIGNED_RUNNER } from "../../../src/rpc/examples.ts";
import type { Reach } from "../../../src/rpc/method.ts";
import type { RunnerDocument } from "../../../src/rpc/schema.ts";
import { createEnrol } from "../../../src/runners/enrol.ts";
import type { Registered } from "../../../src/store/store.ts";

const registrar: Caller & { reach: Reach } = {
  key: EXAMPLE_KEYS.caller,
  name: "ops",
  principal: "ops",
  roles: ["registrar"],
  runners: [],
  reach: "all",
};
const itself: Caller & { reach: Reach } = {
  key: EXAMPLE_KEYS.runner,
  name: "build-1",
  principal: "build",
  roles: ["runner"],
  runners: ["build*"],
  reach: "own",
};

interface Wishes {
  readonly registered?: Registered;
  readonly isSigned?: boolean;
  readonly caller?: Caller & { reach: Reach };
  readonly registration?: Partial<RunnerDocument>;
  readonly requirements?: Readonly<Record<string, readonly Approvals[]>>;
}

async function enrol({
  registered = { outcome: "new" },
  isSigned = true,
  caller = registrar,
  registration = {},
  requirements = {},
}: Wishes): Promise<unknown> {
  const stored: unknown[] = [];
  const run = createEnrol({
    identity: EXAMPLE_KEYS.supervisor,
    runners: {
      register: async (signed, call) => {
        stored.push([signed, call]);
        return registered;
      },
    },
    verifyRegistration: () => isSigned,
    requirementsFor: (name) => requirements[name] ?? [],
    now: () => 1_790_000_000_000,
  });
  try {
    await run({
      registration: { ...RUNNER_DOCUMENT, ...registration },
      signature: SIGNED_RUNNER.signature,
      caller,
      signedCall: "call",
    });
    return stored;
  } catch (error) {
    if (!(error instanceof SupervisorError)) throw error;
    return error.name;
  }
}

describe("createEnrol()", () => {
  test("stores the signed registration with the call that brought it", async () => {
    await expect(enrol({})).resolves.toEqual([[SIGNED_RUNNER, "call"]]);
  });

  test.each<[string, Wishes, string]>([
    ["for another supervisor", { registration: { aud: EXAMPLE_KEYS.caller } }, "wrongAudience"],
    ["outside its window by Redis' clock", { registered: { outcome: "stale", now: 1 } }, "stale"],
    ["that may be presented for too long", { registration: { exp: RUNNER_DOCUMENT.iat + 601 } }, "stale"],
    ["that ends before it begins", { registration: { exp: RUNNER_DOCUMENT.iat - 1 } }, "stale"],
    ["not signed by the runner's key", { isSigned: false }, "forbidden"],
    ["with a revoked key", { registered: { outcome: "revoked" } }, "forbidden"],
    ["under a name that is taken", { registered: { outcome: "conflict" } }, "conflict"],
    ["of another key by the runner role", { caller: { ...itself, key: EXAMPLE_KEYS.caller } }, "forbidden"],
    ["under a name that is not granted", { caller: { ...itself, runners: ["test*"] } }, "forbidden"],
    ["with a group that is not granted", { caller: itself, registration: { groups: ["prod"] } }, "forbidden"],
  ])("refuses a registration %s", async (_what, wanted, expected) => {
    await expect(enrol(wanted)).resolves.toBe(expected);
  });

  test("lets a runner's own enrolled key register itself", async () => {
    await expect(enrol({ caller: itself })).resolves.toHaveLength(1);
  });

  test("takes no runner that bears a name which needs approvals beside one that does not", async () => {
    const all: readonly Approvals[] = [{ principals: ["ops"], atLeast: 1 }];
    const registration = { name: "prod-1", groups: ["prod", "web"] };

    await expect(enrol({ registration, requirements: { "prod-1": all, prod: all } })).resolves.toBe("forbidden");
    await expect(enrol({ registration, requirements: { prod: all } })).resolves.toBe("forbidden");
    await expect(enrol({ registration, requirements: { "prod-1": all, prod: all, web: all } })).resolves.toHaveLength(
      1,
    );
  });
});
