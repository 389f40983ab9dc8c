import { describe, expect, test, vi } from "vitest";

import { Maintenance } from "../../../src/jobs/maintenance.ts";
import type { Log } from "../../../src/log.ts";
import type { Maintained, RetentionLimits } from "../../../src/store/store.ts";
import { waitUntil } from "../../support/wait.ts";

const retention = { maxAgeSeconds: 60, maxJobs: 10, maxBytes: 1000 };
const nothing: Maintained = { reaped: 0, expired: 0, retired: 0 };

function aLog(): { log: Log; events: string[] } {
  const events: string[] = [];
  const note = (fields: unknown): void => {
    if (typeof fields === "object" && fields !== null && "event" in fields) events.push(String(fields.event));
  };
  return { events, log: { debug: note, info: note, warn: note, error: note } };
}

describe("Maintenance", () => {
  test("hands the retention limits to the store and reports what was done", async () => {
    const { log, events } = aLog();
    const maintain = vi.fn<(limits: RetentionLimits) => Promise<Maintained>>(async () => ({
      reaped: 1,
      expired: 0,
      retired: 0,
    }));
    const maintenance = new Maintenance({ store: { maintain }, retention, intervalMs: 10, log });

    await expect(maintenance.tick()).resolves.toEqual({ reaped: 1, expired: 0, retired: 0 });
    expect(maintain).toHaveBeenCalledWith(retention);
    expect(events).toEqual(["maintained"]);
  });

  test("goes on after failures, tells one line for an outage, and stops when told", async () => {
    const { log, events } = aLog();
    let calls = 0;
    const maintain = async (): Promise<Maintained> => {
      calls += 1;
      if (calls === 1 || calls === 2 || calls === 4) throw new Error("away");
      return nothing;
    };
    const maintenance = new Maintenance({ store: { maintain }, retention, intervalMs: 1, log });

    maintenance.start();
    maintenance.start();
    await waitUntil(() => calls >= 6);
    await maintenance.stop();

    expect(events).toEqual(["maintenance_failed", "maintenance_failed"]);
  });
});
