import { describe, expect, test } from "vitest";

import { Audit } from "../../src/audit.ts";
import type { EnrolledKey } from "../../src/auth/keyring.ts";
import { Revoker } from "../../src/revoker.ts";
import { anEnrolledKey } from "../support/signing.ts";
import { QUIET } from "../support/store.ts";

/** What was asked of the store, each answered by the test. */
class Asked {
  readonly revoked: string[] = [];
  readonly cancelled: (readonly [string, boolean])[] = [];
  onRevoke: () => Promise<void> = async () => undefined;
  onCancel: () => void = () => undefined;
}

function aRevoker(asked: Asked, keys: () => readonly EnrolledKey[] = () => []): Revoker {
  return new Revoker({
    keyring: { all: keys },
    store: {
      revocations: {
        revoke: async ([key = ""]) => {
          asked.revoked.push(key);
          await asked.onRevoke();
        },
        cancelJobsOf: async (key, withRunning) => {
          asked.cancelled.push([key, withRunning]);
          asked.onCancel();
          return 0;
        },
        findWithJobs: async () => [],
        isRevoked: async () => true,
      },
      keyrings: {
        compare: async () => [],
        withdraw: async () => undefined,
        findRevoked: async () => [],
        readEnrolled: async () => [],
        writeEnrolled: async () => undefined,
      },
    },
    verifier: { forget: () => undefined },
    audit: new Audit({ log: QUIET, now: () => 0 }),
    log: QUIET,
  });
}

describe("Revoker", () => {
  test("begins on nothing more once it was stopped, however much is due", async () => {
    const asked = new Asked();
    const revoker = aRevoker(asked);
    asked.onRevoke = async () => {
      revoker.stop();
      throw new Error("away");
    };
    for (let index = 0; index < 50; index += 1) revoker.add(`k${index}`);

    await revoker.carryOut();

    expect(asked.revoked).toEqual(["k0"]);
    expect(revoker.isDue("k0")).toBe(true);
    expect(revoker.isDue("k49")).toBe(true);
  });

  test("goes over the jobs again when it is told while it is at work that running ones are meant too", async () => {
    const asked = new Asked();
    const keys = [anEnrolledKey({ key: "k", revokedAtMs: 1 })];
    const revoker = aRevoker(asked, () => keys);
    asked.onCancel = () => {
      asked.onCancel = () => undefined;
      keys[0] = anEnrolledKey({ key: "k", revokedAtMs: 1, cancelRunning: true });
      revoker.add("k");
    };
    revoker.add("k");

    await revoker.carryOut();

    expect(asked.cancelled).toEqual([
      ["k", false],
      ["k", true],
    ]);
    expect(revoker.isDue("k")).toBe(false);
  });
});
