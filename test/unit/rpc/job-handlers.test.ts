/** What the job handlers do around the store: pages that fit the carrier, and writes whose answer can not be read back. */
import { describe, expect, test } from "vitest";

import { CursorSealer } from "../../../src/auth/cursor.ts";
import type { Caller } from "../../../src/auth/policy.ts";
import { SupervisorError } from "../../../src/errors.ts";
import type { CallContext } from "../../../src/rpc/context.ts";
import { EXAMPLE_KEYS } from "../../../src/rpc/examples.ts";
import { afterWrite } from "../../../src/rpc/handlers/after-write.ts";
import { createJobHandlers } from "../../../src/rpc/handlers/jobs.ts";
import type { LogEntry } from "../../../src/rpc/schema.ts";
import type { JobStore } from "../../../src/store/store.ts";
import { aHead } from "../../support/builders.ts";
import { inProcess } from "../../support/node.ts";

const ID = aHead().id;

function lines(count: number, bytes: number): readonly LogEntry[] {
  return Array.from({ length: count }, (_, at) => ({
    attempt: 1,
    seq: at + 1,
    time_ms: 1,
    stream: "stdout" as const,
    text: "x".repeat(bytes),
  }));
}

async function unused(): Promise<never> {
  throw new Error("not asked for");
}

function aStore(entries: readonly LogEntry[]): JobStore {
  return {
    count: unused,
    admit: unused,
    get: unused,
    list: unused,
    delete: unused,
    head: async () => aHead({ state: "completed", logCount: entries.length }),
    logs: async (_id, from, limit) => {
      const page = entries.slice(from, from + limit);
      return { entries: page, next: from + page.length };
    },
    cancel: async () => ({ outcome: "cancelled" }),
    onChange: () => () => undefined,
  };
}

function aContext(maxAnswerBytes: number): CallContext {
  const caller = {
    key: EXAMPLE_KEYS.caller,
    name: "a",
    principal: "alice",
    roles: [],
    runners: [],
    reach: "own",
  } as const;
  const connection = inProcess({ maxAnswerBytes });
  return {
    caller,
    connection,
    signal: connection.signal,
    requestId: "r",
    verified: () => undefined,
    tracedBy: () => undefined,
    afterAnswer: () => undefined,
  };
}

function handlersOf(
  jobs: JobStore,
  callerOf: () => Promise<Caller | undefined> = unused,
): ReturnType<typeof createJobHandlers> {
  return createJobHandlers({
    jobs,
    sessions: { callerOf },
    cursors: new CursorSealer(new Uint8Array(32)),
    submit: async () => Promise.reject(new Error("not asked for")),
  });
}

describe("get_job_logs", () => {
  test("cuts a page to what the carrier holds, and the next pages bring the rest", async () => {
    const { get_job_logs: getJobLogs } = handlersOf(aStore(lines(10, 1000)));
    const context = aContext(8000);
    const seen: number[] = [];
    let from = 0;
    let isDone = false;

    while (!isDone) {
      const page = await getJobLogs({ id: ID, from }, context);
      expect(JSON.stringify(page).length).toBeLessThan(8000);
      expect(page.entries.length).toBeGreaterThan(0);
      seen.push(...page.entries.map((entry) => entry.seq));
      ({ next: from, done: isDone } = page);
    }

    expect(seen).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  test("gives one entry at least, however small the carrier", async () => {
    const { get_job_logs: getJobLogs } = handlersOf(aStore(lines(2, 1000)));

    await expect(getJobLogs({ id: ID }, aContext(100))).resolves.toMatchObject({ next: 1, done: false });
  });
});

describe("A call that waits", () => {
  const caller = { key: EXAMPLE_KEYS.caller, name: "a", principal: "alice", runners: [] };
  /** Pending for ever; every look is followed by a hint. */
  const store: JobStore = {
    ...aStore([]),
    head: async () => aHead({ state: "pending" }),
    onChange: (_id, ring) => {
      const timer = setInterval(ring, 5);
      return () => clearInterval(timer);
    },
  };

  test.each(["wait_job", "get_job_logs"] as const)("%s ends as soon as its caller's rights have", async (method) => {
    const roles = [["submitter"], ["submitter"], undefined] as const;
    for (const [last, name] of [
      [roles, "unauthenticated"],
      [[["submitter"], ["admin"]], "forbidden"],
    ] as const) {
      const present = last.values();
      const handlers = handlersOf(store, async () => {
        const { value } = present.next();
        return value === undefined ? undefined : { ...caller, roles: value };
      });
      const wait = handlers[method]({ id: ID, wait_ms: 20_000 }, aContext(8000));

      await expect(wait).rejects.toMatchObject({ name });
    }
  });

  test("asks for rights only when it looks again", async () => {
    const { wait_job: waitJob } = handlersOf(aStore([]), unused);

    await expect(waitJob({ id: ID, wait_ms: 20_000 }, aContext(8000))).resolves.toMatchObject({ state: "completed" });
  });
});

describe("afterWrite()", () => {
  test("says of a change that it was applied when only its reading back failed", async () => {
    const away = new SupervisorError("unavailable", { data: { applied: "no", reason: "not_connected" } });

    await expect(afterWrite(async () => Promise.reject(away))).rejects.toMatchObject({
      name: "unavailable",
      data: { applied: "yes", reason: "not_connected" },
    });
  });

  test("leaves other errors and answers as they are", async () => {
    await expect(afterWrite(async () => 5)).resolves.toBe(5);
    await expect(afterWrite(async () => Promise.reject(new SupervisorError("notFound")))).rejects.toMatchObject({
      name: "notFound",
    });
  });
});
