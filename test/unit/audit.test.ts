import { mkdtemp, readFile, rename, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { AuditFile } from "../../src/audit-file.ts";
import { Audit } from "../../src/audit.ts";
import type { CallOutcome } from "../../src/rpc/entry.ts";
import { anEnrolledKey, objectOf, VECTORS } from "../support/signing.ts";

const { caller, approver } = VECTORS.keys;

function anOutcome(wanted: Partial<CallOutcome> = {}): CallOutcome {
  return {
    method: "cancel_job",
    effect: "change",
    code: 0,
    ms: 1,
    transport: "http",
    peer: { transport: "http", address: "127.0.0.1" },
    verified: [{ principal: "alice", key: caller }],
    subject: { job: "an-id" },
    requestId: "r1",
    ...wanted,
  };
}

function anAudit(): { audit: Audit; lines: Readonly<Record<string, unknown>>[]; clock: { now: number } } {
  const lines: Readonly<Record<string, unknown>>[] = [];
  const clock = { now: 0 };
  const info = (fields: unknown): void => {
    // As a log line has them: what is undefined is not there.
    lines.push(objectOf(JSON.stringify(fields)));
  };
  return { audit: new Audit({ log: { info }, now: () => clock.now }), lines, clock };
}

describe("Audit of calls", () => {
  test("writes who did what to which job, from where", () => {
    const { audit, lines } = anAudit();
    audit.call(anOutcome({ subject: { job: "an-id", runner: "build", digest: "d", claimedKey: approver } }));

    expect(lines).toEqual([
      {
        event: "audit",
        what: "cancel_job",
        outcome: "done",
        code: 0,
        key: caller,
        principal: "alice",
        job: "an-id",
        digest: "d",
        runner: "build",
        transport: "http",
        address: "127.0.0.1",
        request_id: "r1",
      },
    ]);
  });

  test("writes refusals of reads and changes with their reason, and whom a stranger claimed to be", () => {
    const { audit, lines } = anAudit();
    const peer = { transport: "mycelium", node: "x25519:1", address: "5c4::1" } as const;
    audit.call(anOutcome({ effect: "read", code: -32_004, reason: "Not found" }));
    audit.call(
      anOutcome({ code: -32_001, reason: "Unauthenticated", verified: [], subject: { claimedKey: approver }, peer }),
    );

    expect(lines).toMatchObject([
      { outcome: "refused", code: -32_004, reason: "Not found", key: caller },
      { outcome: "refused", claimed_key: approver, node: "x25519:1", address: "5c4::1", transport: "mycelium" },
    ]);
    expect(lines[1]).not.toHaveProperty("key");
  });

  test("writes nothing of reads that were answered and of what is no method", () => {
    const { audit, lines } = anAudit();
    const { effect: _effect, ...unknown } = anOutcome({ method: "unknown", code: -32_601 });
    audit.call(anOutcome({ effect: "read" }));
    audit.call(unknown);

    expect(lines).toEqual([]);
  });

  test("does not let strangers fill the disk: it counts what it leaves out, and never leaves out a verified key", () => {
    const { audit, lines, clock } = anAudit();
    for (let count = 0; count < 1000; count += 1) audit.call(anOutcome({ code: -32_001, verified: [] }));
    const written = lines.length;
    audit.call(anOutcome({ code: -32_003 }));
    clock.now = 60_000;
    audit.call(anOutcome({ code: -32_001, verified: [] }));

    expect(written).toBe(200);
    expect(lines.at(-2)).toMatchObject({ key: caller, unwritten: 800 });
    expect(lines.at(-1)).not.toHaveProperty("unwritten");
    expect(lines).toHaveLength(202);
  });
});

describe("Audit of keys", () => {
  test("writes one line for each key that a new file brought, changed, revoked or took", () => {
    const { audit, lines } = anAudit();
    const marked = anEnrolledKey({ name: "revoked", key: "k2", revokedAtMs: 1 });
    audit.keyring({
      added: [anEnrolledKey({ name: "added", key: "k0" })],
      changed: [anEnrolledKey({ name: "changed", key: "k1" }), marked],
      removed: [anEnrolledKey({ name: "removed", key: "k3" })],
      revoked: ["k2", "k3"],
      hasOtherRequirements: true,
    });

    expect(lines.map(({ what, name }) => [what, name])).toEqual([
      ["key_added", "added"],
      ["key_changed", "changed"],
      ["key_revoked", "revoked"],
      ["key_removed", "removed"],
      ["requirements_changed", undefined],
    ]);
    expect(lines[0]).toMatchObject({ principal: "alice", roles: ["submitter"], runners: ["build", "gpu-*"] });
  });

  test("writes what became of a revocation", () => {
    const { audit, lines } = anAudit();
    audit.revocation(caller, { cancelled: 3 });
    audit.revocation(caller, { error: new Error("away") });

    expect(lines).toMatchObject([
      { what: "revocation", key: caller, outcome: "done", cancelled: 3 },
      { what: "revocation", key: caller, outcome: "failed", reason: "away" },
    ]);
  });
});

describe("AuditFile", () => {
  let directory = "";
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "audit-"));
  });
  afterEach(async () => rm(directory, { recursive: true, force: true }));

  test("appends to a file that is closed to others, and goes on in a new one when it was moved away", async () => {
    const path = join(directory, "audit.log");
    const file = new AuditFile(path);
    file.write("one\n");
    await rename(path, `${path}.1`);
    file.write("two\n");
    file.reopen();
    file.write("three\n");
    file.close();
    file.write("lost\n");

    await expect(readFile(`${path}.1`, "utf8")).resolves.toBe("one\ntwo\n");
    await expect(readFile(path, "utf8")).resolves.toBe("three\n");
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(file.problem).toBeUndefined();
  });

  test("refuses a place that can not be written, and later on says so", async () => {
    const path = join(directory, "sub");
    expect(() => new AuditFile(join(path, "audit.log"))).toThrow(/--audit-log .* can not be written \(ENOENT/);

    const file = new AuditFile(path);
    await rm(directory, { recursive: true });
    file.reopen();
    file.write("lost\n");
    expect(file.problem).toMatch(/can not be written .* on SIGHUP/);
  });

  test("says that a full disk loses lines, and takes it back once there is room", () => {
    const file = new AuditFile("/dev/full");
    file.write("lost\n");

    expect(file.problem).toMatch(/ENOSPC/);
    file.close();
  });
});
