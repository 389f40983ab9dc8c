import { describe, expect, test } from "vitest";

import { SupervisorError } from "../../../src/errors.ts";
import type { JobHead } from "../../../src/jobs/job.ts";
import { type Followed, followJob } from "../../../src/jobs/subscription.ts";
import type { JobEvent } from "../../../src/rpc/job-event.ts";
import type { LogEntry } from "../../../src/rpc/schema.ts";
import { aHead } from "../../support/builders.ts";
import { waitUntil } from "../../support/wait.ts";

const POSITIONS = 2 ** 32;

function line(seq: number): LogEntry {
  return { attempt: 1, seq, time_ms: 0, stream: "stdout", text: `line ${seq}` };
}

/** One job as a store has it, and a follower of it. */
class Stage {
  job: JobHead | undefined = aHead({ revision: 1 });
  log: LogEntry[] = [];
  mayRead = true;
  failure: Error | undefined;
  /** Sends fail from this event on. */
  room = Infinity;
  readonly told: { readonly seq: number; readonly event: JobEvent }[] = [];
  readonly controller = new AbortController();
  readonly pages: number[] = [];
  turns = 0;
  readonly #callbacks = new Set<() => void>();

  follow(wanted: Partial<Followed> = {}): Promise<void> {
    const { pages } = this;
    const store = {
      onChange: (_id: string, callback: () => void) => {
        this.#callbacks.add(callback);
        return () => this.#callbacks.delete(callback);
      },
      logs: async (_id: string, from: number, limit: number) => {
        pages.push(from);
        const entries = this.log.slice(from, from + limit);
        return { entries, next: from + entries.length };
      },
    };
    return followJob(store, {
      id: "a",
      after: undefined,
      withLogs: true,
      signal: this.controller.signal,
      head: async () => {
        if (this.failure !== undefined) throw this.failure;
        return this.job;
      },
      mayRead: async () => this.mayRead,
      send: (seq, event) => {
        if (this.told.length >= this.room) return false;
        this.told.push({ seq, event });
        return true;
      },
      inTurn: async (work) => {
        this.turns += 1;
        return work();
      },
      drained: async () => undefined,
      ...wanted,
    });
  }

  /** Something changed, and followers are hinted at it. */
  change(head: Partial<JobHead>, entries: readonly LogEntry[] = []): void {
    this.log.push(...entries);
    this.job = this.job === undefined ? undefined : { ...this.job, ...head, logCount: this.log.length };
    for (const callback of this.#callbacks) callback();
  }

  /** What was told, in short: a state's name, a line's number, or an end's reason. */
  get said(): readonly string[] {
    return this.told.map(({ event }) => {
      if (event.type === "state") return event.job.state;
      return event.type === "log" ? String(event.entry.seq) : `end: ${event.reason}`;
    });
  }

  get listeners(): number {
    return this.#callbacks.size;
  }
}

describe("followJob()", () => {
  test("tells the present state, each change and every log entry, the terminal state after the log", async () => {
    const stage = new Stage();
    const following = stage.follow();
    await waitUntil(() => stage.told.length === 1);

    stage.change({ state: "running", revision: 2 }, [line(1)]);
    await waitUntil(() => stage.told.length === 3);
    stage.change({}, [line(2), line(3)]);
    stage.change({ state: "completed", revision: 3 }, [line(4)]);
    await following;

    expect(stage.said).toStrictEqual(["pending", "running", "1", "2", "3", "4", "completed", "end: terminal"]);
    expect(stage.listeners).toBe(0);
  });

  test("numbers events with what is behind them, rising with each but the end", async () => {
    const stage = new Stage();
    stage.change({ state: "running", revision: 2 }, [line(1), line(2)]);
    const following = stage.follow();
    await waitUntil(() => stage.told.length === 3);
    stage.change({ state: "failed", revision: 4 });
    await following;

    expect(stage.told.map(({ seq }) => seq)).toStrictEqual([
      2 * POSITIONS,
      2 * POSITIONS + 1,
      2 * POSITIONS + 2,
      4 * POSITIONS + 2,
      4 * POSITIONS + 2,
    ]);
  });

  test("goes on behind any number it gave, without a gap or a repeat", async () => {
    const whole = new Stage();
    whole.change({ state: "running", revision: 2 }, [1, 2, 3].map(line));
    const first = whole.follow();
    await waitUntil(() => whole.told.length === 4);
    whole.change({ state: "completed", revision: 3 }, [line(4)]);
    await first;

    const rests = await Promise.all(
      whole.told.map(async ({ seq }) => {
        const rest = new Stage();
        rest.change({ state: "completed", revision: 3 }, [1, 2, 3, 4].map(line));
        await rest.follow({ after: seq });
        return rest.said;
      }),
    );

    expect(rests).toStrictEqual([
      ["1", "2", "3", "4", "completed", "end: terminal"],
      ["2", "3", "4", "completed", "end: terminal"],
      ["3", "4", "completed", "end: terminal"],
      ["4", "completed", "end: terminal"],
      ["completed", "end: terminal"],
      ["end: terminal"],
      ["end: terminal"],
    ]);
  });

  test("leaves the log out where it is not wanted", async () => {
    const stage = new Stage();
    stage.change({ state: "completed", revision: 3 }, [line(1)]);

    await stage.follow({ withLogs: false });

    expect(stage.said).toStrictEqual(["completed", "end: terminal"]);
    expect(stage.pages).toStrictEqual([]);
  });

  test("reads a long log in pages, each in its turn", async () => {
    const stage = new Stage();
    stage.change(
      { state: "completed", revision: 2 },
      Array.from({ length: 250 }, (_, index) => line(index + 1)),
    );

    await stage.follow();

    expect(stage.pages).toStrictEqual([0, 100, 200]);
    expect(stage.turns).toBe(3);
    expect(stage.said).toHaveLength(252);
  });

  test("tells nothing more once rights have ended, and says so", async () => {
    const stage = new Stage();
    const following = stage.follow();
    await waitUntil(() => stage.told.length === 1);

    stage.mayRead = false;
    stage.change({ state: "running", revision: 2 }, [line(1)]);
    await following;

    expect(stage.said).toStrictEqual(["pending", "end: rights"]);
  });

  test("says when the job is deleted", async () => {
    const stage = new Stage();
    const following = stage.follow();
    await waitUntil(() => stage.told.length === 1);

    stage.job = undefined;
    stage.change({});
    await following;

    expect(stage.said).toStrictEqual(["pending", "end: deleted"]);
  });

  test("asks again later for a log that is announced and not there", async () => {
    const stage = new Stage();
    stage.change({ state: "completed", revision: 2 }, [line(1)]);
    stage.log = [];
    const following = stage.follow();
    await waitUntil(() => stage.pages.length === 1);

    stage.job = undefined;
    stage.change({});
    await following;

    expect(stage.said).toStrictEqual(["end: deleted"]);
  });

  test("outlives a store that is out of reach for a while", async () => {
    const stage = new Stage();
    stage.failure = new SupervisorError("unavailable");
    const following = stage.follow();
    stage.change({ state: "running", revision: 2 });
    expect(stage.said).toStrictEqual([]);

    stage.failure = undefined;
    stage.change({ state: "completed", revision: 3 });
    await following;

    expect(stage.said).toStrictEqual(["completed", "end: terminal"]);
  });

  test("says that it failed where the store fails in another way", async () => {
    const stage = new Stage();
    stage.failure = new Error("somebody else wrote into the store");

    await expect(stage.follow()).rejects.toThrow("somebody else");

    expect(stage.told).toStrictEqual([{ seq: 0, event: { type: "end", reason: "failed" } }]);
  });

  test.each([0, 1, 2, 3, 4])("ends when nothing arrives any more, after %i events", async (room) => {
    const stage = new Stage();
    stage.change({ state: "running", revision: 2 }, [line(1), line(2)]);
    stage.room = room;

    const following = stage.follow();
    await waitUntil(() => stage.told.length === Math.min(room, 3));
    stage.change({ state: "completed", revision: 3 });
    await following;

    expect(stage.told).toHaveLength(room);
    expect(stage.listeners).toBe(0);
  });

  test("ends when nobody follows any more, also while it looks or waits for its turn", async () => {
    const idle = new Stage();
    const waiting = idle.follow();
    await waitUntil(() => idle.told.length === 1);
    idle.controller.abort();
    await waiting;

    const looking = new Stage();
    await looking.follow({
      head: async () => {
        looking.controller.abort();
        return looking.job;
      },
    });

    const turning = new Stage();
    turning.change({ state: "running", revision: 2 }, [line(1)]);
    await turning.follow({
      inTurn: async (work) => {
        turning.controller.abort();
        return work();
      },
    });

    const sending = new Stage();
    sending.change({ state: "running", revision: 2 }, [line(1), line(2)]);
    await sending.follow({
      send: (seq, event) => {
        sending.told.push({ seq, event });
        if (event.type === "log") sending.controller.abort();
        return true;
      },
    });

    expect([idle.said, looking.said, turning.said, sending.said]).toStrictEqual([
      ["pending"],
      [],
      ["running"],
      ["running", "1"],
    ]);
  });
});
