import { describe, expect, test, vi } from "vitest";

import { type EnrolledKey, Keyring, parseKeyring, type Requirement } from "../../../src/auth/keyring.ts";
import { TORSION } from "../../support/corner-cases.ts";
import { anEnrolledKey, VECTORS } from "../../support/signing.ts";

const { caller, approver, runner } = VECTORS.keys;
const NODE = `x25519:${"ab".repeat(32)}`;

/** The lines of one `[[key]]` table; undefined leaves a field out. */
function aTable(wanted: Readonly<Record<string, string | undefined>> = {}): string {
  const fields = {
    name: '"alice-laptop"',
    principal: '"alice"',
    key: `"${caller}"`,
    roles: '["submitter"]',
    ...wanted,
  };
  const lines = Object.entries(fields).map(([name, value]) => (value === undefined ? "" : `${name} = ${value}\n`));
  return `[[key]]\n${lines.join("")}\n`;
}

function keysOf(text: string): readonly EnrolledKey[] {
  const parsed = parseKeyring(text);
  if (!parsed.ok) throw new Error(parsed.problem);
  return parsed.keys;
}

function problemOf(text: string): string {
  const parsed = parseKeyring(text);
  return parsed.ok ? "" : parsed.problem;
}

/** The lines of one `[[require]]` table; undefined leaves a field out. */
function aRequirement(wanted: Readonly<Record<string, string | undefined>> = {}): string {
  const fields = { runner: '"prod-*"', principals: '["ops", "security"]', at_least: "2", ...wanted };
  const lines = Object.entries(fields).map(([name, value]) => (value === undefined ? "" : `${name} = ${value}\n`));
  return `[[require]]\n${lines.join("")}\n`;
}

function requirementsOf(text: string): readonly Requirement[] {
  const parsed = parseKeyring(text);
  if (!parsed.ok) throw new Error(parsed.problem);
  return parsed.requirements;
}

function digestOf(...keys: readonly EnrolledKey[]): string {
  return new Keyring(keys, () => 0).digest;
}

describe("parseKeyring", () => {
  test("reads every field of the spec's example", () => {
    const text = aTable({
      runners: '["build", "gpu-*"]     # submitter: may send to',
      not_after: "2027-01-01",
      overlay: `["${NODE}"]`,
      rate: "5",
      cancel_running: "true",
      revoked_at: "2026-05-01T12:00:00+02:00",
    });

    expect(keysOf(text)).toEqual([
      {
        name: "alice-laptop",
        principal: "alice",
        key: caller,
        roles: ["submitter"],
        runners: ["build", "gpu-*"],
        // The whole of the day named counts.
        notAfterMs: Date.UTC(2027, 0, 2) - 1,
        revokedAtMs: Date.UTC(2026, 4, 1, 10),
        cancelRunning: true,
        overlay: [NODE],
        rate: 5,
      },
    ]);
  });

  test("leaves out what the table leaves out", () => {
    expect(keysOf(aTable())).toEqual([
      {
        name: "alice-laptop",
        principal: "alice",
        key: caller,
        roles: ["submitter"],
        runners: [],
        cancelRunning: false,
      },
    ]);
  });

  test("takes several keys of one principal, a key without roles that only co-signs, and any runner", () => {
    const text =
      aTable({ roles: '["submitter", "admin"]', runners: '["*"]' }) +
      aTable({ name: '"alice-phone"', key: `"${approver}"`, roles: "[]" });

    expect(keysOf(text).map(({ name, principal, roles }) => [name, principal, roles])).toEqual([
      ["alice-laptop", "alice", ["submitter", "admin"]],
      ["alice-phone", "alice", []],
    ]);
  });

  test("takes not_after as a moment where it is one, and revoked_at as the begin of a day", () => {
    const [key] = keysOf(aTable({ not_after: "2027-01-01T00:00:00Z", revoked_at: "2026-05-01" }));

    expect(key).toMatchObject({ notAfterMs: Date.UTC(2027, 0, 1), revokedAtMs: Date.UTC(2026, 4, 1) });
  });

  test("reads requirements, wherever their tables stand; without any there are none", () => {
    const other = aRequirement({ runner: '"db"', principals: '["root"]', at_least: "1.0" });

    expect(requirementsOf(aRequirement() + aTable() + other)).toEqual([
      { runner: "prod-*", principals: ["ops", "security"], atLeast: 2 },
      { runner: "db", principals: ["root"], atLeast: 1 },
    ]);
    expect(requirementsOf(aTable())).toEqual([]);
  });

  test("takes a requirement of principals without a key: removing a leaked key must never be refused for it", () => {
    expect(requirementsOf(aTable() + aRequirement({ principals: '["nobody"]', at_least: "1" }))).toHaveLength(1);
  });

  test.each([
    ["an unknown field", aRequirement({ group: '"x"' }), /require "prod-\*": group is unknown\. Fields: runner, prin/],
    ["no runner", aRequirement({ runner: undefined }), /require 1: runner must be one name/],
    ["a list of runners", aRequirement({ runner: '["a", "b"]' }), /require 1: runner must be one name/],
    ["a pattern with a star inside", aRequirement({ runner: '"p*d"' }), /require "p\*d": runner must be/],
    ["an upper-case runner", aRequirement({ runner: '"Prod"' }), /runner must be/],
    ["no principals", aRequirement({ principals: undefined }), /principals must be a list/],
    ["one principal as text", aRequirement({ principals: '"ops"', at_least: "1" }), /principals must be a list/],
    ["an empty list", aRequirement({ principals: "[]", at_least: "0" }), /principals must list one principal or more/],
    ["a principal twice", aRequirement({ principals: '["ops", "ops"]' }), /principals must list .* each once/],
    ["an empty principal", aRequirement({ principals: '["ops", ""]' }), /principals must list/],
    ["no number", aRequirement({ at_least: undefined }), /at_least must be a whole number from 1 to 2/],
    ["none at least", aRequirement({ at_least: "0" }), /at_least must be/],
    ["a negative number", aRequirement({ at_least: "-1" }), /at_least must be/],
    ["more than there are", aRequirement({ at_least: "3" }), /at_least must be a whole number from 1 to 2/],
    ["one and a half", aRequirement({ at_least: "1.5" }), /at_least must be/],
    ["a number as text", aRequirement({ at_least: '"2"' }), /at_least must be/],
    [
      "the same pattern twice",
      aRequirement() + aRequirement({ at_least: "1" }),
      /require "prod-\*": stands there twice/,
    ],
    ["one table instead of a list", '[require]\nrunner = "a"\n', /require is not a list of \[\[require\]\] tables/],
    ["text in the list", 'require = ["x"]\n', /require 1 is not a \[\[require\]\] table/],
  ])("refuses the whole file for a requirement with %s", (_title, text, problem) => {
    expect(problemOf(text + aTable())).toMatch(problem);
  });

  const mixed = TORSION[1]?.add(TORSION[0] ?? TORSION[1]).toHex() ?? "";

  test.each([
    ["no TOML", "[[key]]\nname = alice", /not TOML at line 2, column \d+/],
    ["an empty file", "", /no \[\[key\]\] table/],
    ["an empty list", "key = []", /no \[\[key\]\] table/],
    ["another member", `${aTable()}[owner]\nname = "x"\n`, /unknown member "owner"/],
    ["key that is no table", 'key = ["x"]', /key 1 is not a \[\[key\]\] table/],
    ["key that is one table", `[key]\nname = "x"\n`, /no \[\[key\]\] table/],
    ["an unknown field", aTable({ role: '"admin"' }), /key "alice-laptop": role is unknown\. Fields: name, principal/],
    ["no name", aTable({ name: undefined }), /key 1: name must be/],
    ["a name that could forge a log line", aTable({ name: '"a\\nb"' }), /key 1: name must be/],
    ["an empty principal", aTable({ principal: '""' }), /key "alice-laptop": principal must be/],
    ["a blank principal", aTable({ principal: '" "' }), /principal must be/],
    ["no key", aTable({ key: undefined }), /key must be ed25519:/],
    ["an overlay key as key", aTable({ key: `"${NODE}"` }), /key must be ed25519:/],
    ["upper-case hex", aTable({ key: `"${caller.replace("d04a", "D04A")}"` }), /key must be ed25519:/],
    ["a key of small order", aTable({ key: `"ed25519:${mixed}"` }), /key is no point/],
    ["no roles", aTable({ roles: undefined }), /roles must be a list/],
    ["one role as text", aTable({ roles: '"admin"' }), /roles must be a list/],
    ["an unknown role", aTable({ roles: '["submitter", "root"]' }), /no role "root"\. Roles: submitter, runner/],
    ["runners as text", aTable({ runners: '"*"' }), /runners must be a list/],
    ["a pattern with two stars", aTable({ runners: '["g*u*"]' }), /runners can not hold "g\*u\*"/],
    ["an upper-case runner", aTable({ runners: '["Build"]' }), /runners can not hold "Build"/],
    ["a local time", aTable({ not_after: "2027-01-01T00:00:00" }), /not_after must be a date/],
    ["a time without a day", aTable({ not_after: "12:00:00" }), /not_after must be a date/],
    ["a day that no month has", aTable({ not_after: "2027-02-31" }), /^line \d+: not_after 2027-02-31 is no day/],
    ["a thirteenth month", aTable({ revoked_at: "2027-13-01T00:00:00Z" }), /no day|not TOML/],
    ["a date as text", aTable({ revoked_at: '"2027-01-01"' }), /revoked_at must be a date/],
    ["a yes that is no boolean", aTable({ cancel_running: '"yes"' }), /cancel_running must be true or false/],
    ["an Ed25519 key as node", aTable({ overlay: `["${caller}"]` }), /overlay must list nodes/],
    ["no node at all", aTable({ overlay: "[]" }), /overlay must list nodes/],
    ["a rate of 0", aTable({ rate: "0" }), /rate must be a number above 0/],
    ["an endless rate", aTable({ rate: "inf" }), /rate must be/],
    ["a rate as text", aTable({ rate: '"5"' }), /rate must be/],
    ["a duplicate name", aTable() + aTable({ key: `"${approver}"` }), /key "alice-laptop": two tables have this name/],
    ["a duplicate key", aTable() + aTable({ name: '"bob"' }), /key "bob": "ed25519:d04a.*already/],
  ])("refuses the whole file for %s", (_title, text, problem) => {
    expect(problemOf(aTable({ name: '"zoe"', key: `"${runner}"` }) + text) || problemOf(text)).not.toBe("");
    expect(problemOf(text)).toMatch(problem);
  });

  test("names the table by its place when it has no name to be named by", () => {
    expect(problemOf(aTable() + aTable({ name: "7", key: `"${approver}"` }))).toMatch(/^key 2: name/);
  });

  test("believes what was checked before, and only that", () => {
    const smallOrder = `ed25519:${mixed}`;
    expect(parseKeyring(aTable({ key: `"${smallOrder}"` }), new Set([smallOrder]))).toMatchObject({ ok: true });
    expect(parseKeyring(aTable({ key: `"${smallOrder}"` }), new Set([caller]))).toMatchObject({ ok: false });
  });

  test("lets faults of its own code through", () => {
    const failing = new Set<string>();
    failing.has = () => {
      throw new RangeError("broken");
    };
    expect(() => parseKeyring(aTable(), failing)).toThrow("broken");
  });
});

describe("Keyring", () => {
  const alice = anEnrolledKey();
  const bob = anEnrolledKey({ name: "bob", principal: "bob", key: approver });

  test("finds enrolled keys and no others", () => {
    const keyring = new Keyring([alice, bob], () => 0);

    expect(keyring.find(caller)).toBe(alice);
    expect(keyring.find(approver)).toBe(bob);
    expect(keyring.find(runner)).toBeUndefined();
    expect(keyring.all()).toEqual([alice, bob]);
  });

  test("finds a key up to its not_after and no longer", () => {
    let now = 1000;
    const keyring = new Keyring([anEnrolledKey({ notAfterMs: 1000 })], () => now);

    expect(keyring.find(caller)).toBeDefined();
    now = 1001;
    expect(keyring.find(caller)).toBeUndefined();
    expect(keyring.all()).toHaveLength(1);
  });

  test.each([0, 2 ** 50])("finds no revoked key, whatever moment revoked_at names: %d", (revokedAtMs) => {
    expect(new Keyring([anEnrolledKey({ revokedAtMs })], () => 1000).find(caller)).toBeUndefined();
  });

  test("says on replace what it revoked, each once, and tells whoever asked", () => {
    const keyring = new Keyring([alice, bob], () => 0);
    const heard = vi.fn<(key: string) => void>();
    const stop = keyring.onRevoked(heard);

    expect(keyring.replace([{ ...alice, revokedAtMs: 1 }])).toEqual([caller, approver]);
    expect(heard.mock.calls).toEqual([[caller], [approver]]);
    expect(keyring.find(caller)).toBeUndefined();

    expect(keyring.replace([])).toEqual([]);
    stop();
    keyring.replace([alice]);
    expect(keyring.replace([])).toEqual([caller]);
    expect(heard).toHaveBeenCalledTimes(2);
  });

  test("says nothing of keys that were added, changed or revoked before", () => {
    const keyring = new Keyring([alice, { ...bob, revokedAtMs: 1 }], () => 2);

    expect(keyring.replace([{ ...alice, roles: ["observer"] }, anEnrolledKey({ name: "r", key: runner })])).toEqual([]);
    expect(keyring.find(caller)?.roles).toEqual(["observer"]);
  });

  test("says that a key was revoked which had expired before: jobs it signed may wait", () => {
    const expired = { ...bob, notAfterMs: 1 };
    const keyring = new Keyring([alice, expired], () => 2);

    expect(keyring.replace([alice, { ...expired, revokedAtMs: 2 }])).toEqual([approver]);
    keyring.replace([alice, expired]);
    expect(keyring.replace([alice])).toEqual([approver]);
  });

  test("says that a key was revoked whose table came back with revoked_at", () => {
    const keyring = new Keyring([alice], () => 2);

    expect(keyring.replace([alice, { ...bob, revokedAtMs: 1 }])).toEqual([approver]);
  });

  test("says once more that a key was revoked when its running jobs are to end as well", () => {
    const keyring = new Keyring([alice, { ...bob, revokedAtMs: 1 }], () => 2);
    const withRunning = { ...bob, revokedAtMs: 1, cancelRunning: true };

    expect(keyring.replace([alice, withRunning])).toEqual([approver]);
    expect(keyring.replace([alice, withRunning])).toEqual([]);
  });

  test("does not revoke a key whose not_after came to lie in the past: that is mended by another date", () => {
    const keyring = new Keyring([alice], () => 2);

    expect(keyring.replace([{ ...alice, notAfterMs: 1 }])).toEqual([]);
    expect(keyring.find(caller)).toBeUndefined();
    keyring.replace([{ ...alice, notAfterMs: 3 }]);
    expect(keyring.find(caller)).toBeDefined();
  });

  test("tells everybody of a revocation even when one of them fails, and says so", () => {
    const keyring = new Keyring([alice, bob], () => 0);
    const heard = vi.fn<(key: string) => void>();
    keyring.onRevoked(() => {
      throw new Error("deaf");
    });
    keyring.onRevoked(heard);

    expect(() => keyring.replace([])).toThrow(AggregateError);
    expect(heard.mock.calls).toEqual([[caller], [approver]]);
    expect(keyring.all()).toEqual([]);
  });

  test("has one digest for one meaning, and another for every change of it", () => {
    const same = digestOf(alice, bob);

    expect(same).toMatch(/^[0-9a-f]{64}$/);
    expect(digestOf(bob, { ...alice, runners: ["gpu-*", "build"] })).toBe(same);
    const changes: readonly Partial<EnrolledKey>[] = [
      { name: "x" },
      { principal: "x" },
      { roles: [] },
      { runners: [] },
      { notAfterMs: 1 },
      { revokedAtMs: 1 },
      { cancelRunning: true },
      { overlay: [NODE] },
      { rate: 1 },
    ];
    const digests = changes.map((change) => digestOf({ ...alice, ...change }, bob));
    expect(new Set([same, digestOf(alice), ...digests]).size).toBe(changes.length + 2);

    const required: Requirement = { runner: "prod", principals: ["ops", "security"], atLeast: 2 };
    const withOne = (requirement: Requirement): string => new Keyring([alice, bob], () => 0, [requirement]).digest;
    expect(withOne({ ...required, principals: ["security", "ops"] })).toBe(withOne(required));
    const others = [{ runner: "prod-*" }, { principals: ["ops", "root"] }, { atLeast: 1 }].map((change) =>
      withOne({ ...required, ...change }),
    );
    expect(new Set([same, withOne(required), ...others]).size).toBe(5);
  });

  test("finds every requirement whose pattern covers a runner, and none other", () => {
    const prod: Requirement = { runner: "prod-*", principals: ["ops"], atLeast: 1 };
    const db: Requirement = { runner: "prod-db", principals: ["dba"], atLeast: 1 };
    const keyring = new Keyring([alice], () => 0, [prod, db]);

    expect(keyring.requirementsFor("prod-db")).toEqual([prod, db]);
    expect(keyring.requirementsFor("prod-1")).toEqual([prod]);
    expect(keyring.requirementsFor("prod")).toEqual([]);
    expect(keyring.requirementsFor("build")).toEqual([]);
  });

  test("swaps requirements together with the keys, and keeps them where only keys are given", () => {
    const prod: Requirement = { runner: "prod", principals: ["ops"], atLeast: 1 };
    const keyring = new Keyring([alice], () => 0, [prod]);

    keyring.replace([alice, bob]);
    expect(keyring.requirementsFor("prod")).toEqual([prod]);
    keyring.replace([alice, bob], []);
    expect(keyring.requirementsFor("prod")).toEqual([]);
  });

  test("renews its digest on replace", () => {
    const keyring = new Keyring([alice], () => 0);
    const before = keyring.digest;
    keyring.replace([alice, bob]);

    expect(keyring.digest).not.toBe(before);
  });
});
