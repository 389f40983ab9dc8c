import { describe, expect, test } from "vitest";

import { keyringAdvice, keyState } from "../../../src/auth/keyring-advice.ts";
import { anEnrolledKey } from "../../support/signing.ts";

const NOW = 1_790_000_000_000;
const DAY = 86_400_000;
const root = anEnrolledKey({ name: "root", principal: "root", roles: ["admin"] });

describe("keyState", () => {
  test.each([
    [{}, "good"],
    [{ notAfterMs: NOW }, "good"],
    [{ notAfterMs: NOW - 1 }, "expired"],
    [{ revokedAtMs: NOW + DAY }, "revoked"],
    [{ revokedAtMs: 1, notAfterMs: 1 }, "revoked"],
  ])("of %j is %s", (wanted, state) => {
    expect(keyState(anEnrolledKey(wanted), NOW)).toBe(state);
  });
});

describe("keyringAdvice", () => {
  test("has nothing to say of a keyring without oddities", () => {
    const requirements = [{ runner: "prod", principals: ["root", "nobody"], atLeast: 1 }];

    expect(keyringAdvice({ keys: [root], requirements }, NOW)).toEqual([]);
  });

  test("names requirements that can not be met, and who has no good key", () => {
    const gone = anEnrolledKey({ principal: "ops", revokedAtMs: 1 });
    const requirements = [{ runner: "prod", principals: ["root", "ops", "opz"], atLeast: 2 }];

    const [advice] = keyringAdvice({ keys: [root, gone], requirements }, NOW);

    expect(advice).toMatch(/require "prod": it needs 2 approvals and has 1 principal with .* Without one: ops, opz\./);
  });

  test("names keys that end soon, while they are good", () => {
    const soon = anEnrolledKey({ name: "soon", notAfterMs: NOW + 14 * DAY });
    const keys = [root, soon, anEnrolledKey({ notAfterMs: NOW + 15 * DAY })];

    expect(keyringAdvice({ keys, requirements: [] }, NOW)).toEqual([expect.stringMatching(/^key "soon" ends 2026-/)]);
  });

  test("names keys that have ended, unless they were revoked", () => {
    const past = anEnrolledKey({ name: "past", notAfterMs: NOW - 1 });
    const keys = [root, past, anEnrolledKey({ notAfterMs: NOW - 1, revokedAtMs: 1 })];

    expect(keyringAdvice({ keys, requirements: [] }, NOW)).toEqual([
      expect.stringMatching(/^key "past" ended 2026-.*not_after/),
    ]);
  });

  test("names a submitter to which no runner is granted, while it is good", () => {
    const lone = anEnrolledKey({ name: "lone", roles: ["submitter"], runners: [] });
    const keys = [root, lone, { ...lone, name: "gone", revokedAtMs: 1 }, { ...lone, name: "granted", runners: ["*"] }];

    expect(keyringAdvice({ keys, requirements: [] }, NOW)).toEqual([
      expect.stringMatching(/^key "lone" is a submitter and no runner is granted to it/),
    ]);
  });

  test("misses an admin whose key is good", () => {
    expect(keyringAdvice({ keys: [{ ...root, revokedAtMs: 1 }], requirements: [] }, NOW)).toEqual([
      expect.stringMatching(/no good key has the role admin/),
    ]);
  });
});
