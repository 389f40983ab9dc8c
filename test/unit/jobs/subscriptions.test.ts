import { describe, expect, test } from "vitest";

import type { JobHead } from "../../../src/jobs/job.ts";
import { type PushConnection, Subscriptions, type Wanted } from "../../../src/jobs/subscriptions.ts";
import type { LogEntry } from "../../../src/rpc/schema.ts";
import { aHead } from "../../support/builders.ts";
import { aConnection, keptLog, quietLog } from "../../support/dispatcher.ts";
import { objectOf, refusalOf } from "../../support/signing.ts";
import { waitUntil } from "../../support/wait.ts";

const ENDED = aHead({ state: "completed", revision: 2 });

function aStage({ logs = [] as readonly LogEntry[], log = quietLog, maxPerConnection = 3 } = {}): Subscriptions {
  return new Subscriptions({
    store: {
      onChange: () => () => undefined,
      logs: async (_id, from, limit) => {
        const entries = logs.slice(from, from + limit);
        return { entries, next: from + entries.length };
      },
    },
    maxPerConnection,
    log,
  });
}

/** A connection whose notifications are kept, and the way to end it. */
function aPushing(drained?: () => Promise<void>): {
  readonly connection: PushConnection;
  readonly messages: Record<string, unknown>[];
  readonly end: () => void;
} {
  const controller = new AbortController();
  const messages: Record<string, unknown>[] = [];
  const notify = (bytes: Uint8Array): boolean => {
    messages.push(objectOf(Buffer.from(bytes).toString()));
    return true;
  };
  const connection = { ...aConnection({ signal: controller.signal, ...(drained && { drained }) }), notify };
  return { connection, messages, end: () => controller.abort() };
}

function aWish(head: JobHead | undefined = aHead(), wanted: Partial<Wanted> = {}): Wanted {
  return {
    job: "a",
    principal: "alice",
    requestId: "r",
    after: undefined,
    withLogs: true,
    head: async () => head,
    mayRead: async () => true,
    ...wanted,
  };
}

describe("Subscriptions", () => {
  test("tell nothing before they are started, then JSON-RPC notifications", async () => {
    const { connection, messages } = aPushing();
    const { id, start } = aStage().add(connection, aWish(ENDED));
    expect(messages).toStrictEqual([]);

    start();
    await waitUntil(() => messages.length === 2);

    expect(id).toMatch(/^[0-9a-f]{16}$/u);
    expect(messages).toMatchObject([
      { jsonrpc: "2.0", method: "job_event", params: { subscription: id, event: { type: "state" } } },
      { jsonrpc: "2.0", method: "job_event", params: { subscription: id, event: { type: "end", reason: "terminal" } } },
    ]);
    expect(messages.every((message) => !("id" in message))).toBe(true);
  });

  test("are bounded for each connection, and leave room when they end", async () => {
    const subscriptions = aStage({ maxPerConnection: 2 });
    const [one, other] = [aPushing(), aPushing()];
    const first = subscriptions.add(one.connection, aWish(ENDED));
    const second = subscriptions.add(one.connection, aWish());
    const add = async () => subscriptions.add(one.connection, aWish());

    await expect(refusalOf(add())).resolves.toMatchObject({
      name: "tooMany",
      data: { limit: "max_subscriptions", allowed: 2, present: 2 },
    });
    subscriptions.add(other.connection, aWish());
    first.start();
    await waitUntil(() => one.messages.length === 2);
    await waitUntil(async () =>
      add().then(
        () => true,
        () => false,
      ),
    );
    expect(subscriptions.remove(one.connection, second.id, "alice")).toBe(true);
    await add();
  });

  test("are ended by their own principal alone, once, and tell nothing afterwards", async () => {
    const subscriptions = aStage();
    const { connection, messages } = aPushing();
    const { id, start } = subscriptions.add(connection, aWish());
    start();
    await waitUntil(() => messages.length === 1);

    expect(subscriptions.remove(connection, id, "bob")).toBe(false);
    expect(subscriptions.remove(aPushing().connection, id, "alice")).toBe(false);
    expect(subscriptions.remove(connection, id, "alice")).toBe(true);
    expect(subscriptions.remove(connection, id, "alice")).toBe(false);
    expect(messages).toHaveLength(1);
  });

  test("end with their connection", async () => {
    const subscriptions = aStage({ maxPerConnection: 1 });
    const { connection, messages, end } = aPushing();
    subscriptions.add(connection, aWish()).start();
    await waitUntil(() => messages.length === 1);

    end();

    await waitUntil(() => {
      try {
        subscriptions.add(connection, aWish());
        return true;
      } catch {
        return false;
      }
    });
    expect(messages).toHaveLength(1);
  });

  test("of a connection that ended before tell nothing", async () => {
    const subscriptions = aStage({ maxPerConnection: 1 });
    const { connection, messages, end } = aPushing();
    end();

    subscriptions.add(connection, aWish()).start();
    await waitUntil(() => {
      try {
        subscriptions.add(connection, aWish()).start();
        return true;
      } catch {
        return false;
      }
    });

    expect(messages).toStrictEqual([]);
  });

  test("take turns with what is much, and ask for room before each entry", async () => {
    const logs = Array.from({ length: 150 }, (_, index): LogEntry => {
      return { attempt: 1, seq: index + 1, time_ms: 0, stream: "stdout", text: "x" };
    });
    const head = { ...ENDED, logCount: logs.length };
    let asked = 0;
    const { connection, messages } = aPushing(async () => {
      asked += 1;
    });
    const subscriptions = aStage({ logs });
    for (let index = 0; index < 2; index += 1) subscriptions.add(connection, aWish(head)).start();

    await waitUntil(() => messages.length === 2 * 152);

    const owners = messages.flatMap(({ params }) => {
      const { subscription, event } = objectOf(JSON.stringify(params));
      return JSON.stringify(event).includes('"log"') ? [String(subscription)] : [];
    });
    const [first, second] = [owners[0], owners[100]];
    expect(second).not.toBe(first);
    // A page of one, a page of the other, and only then what is left of both.
    expect(owners).toStrictEqual(
      [100, 100, 50, 50].flatMap((count, index) => Array.from({ length: count }, () => (index % 2 ? second : first))),
    );
    expect(asked).toBe(300);
  });

  test("that fail say so, in the log too, and hold up nobody", async () => {
    const { log, lines } = keptLog();
    const head = { ...ENDED, logCount: 1 };
    const subscriptions = new Subscriptions({
      store: {
        onChange: () => () => undefined,
        logs: async () => {
          throw new Error("WRONGTYPE");
        },
      },
      maxPerConnection: 3,
      log,
    });
    const { connection, messages } = aPushing();

    subscriptions.add(connection, aWish(head)).start();
    subscriptions.add(connection, aWish(head)).start();
    await waitUntil(() => lines.length === 2);

    expect(messages).toMatchObject([
      { params: { event: { type: "end", reason: "failed" } } },
      { params: { event: { type: "end", reason: "failed" } } },
    ]);
    expect(lines[0]).toContain("subscription_failed");
  });
});
