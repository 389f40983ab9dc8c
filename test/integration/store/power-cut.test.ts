/**
 * A power cut tears the append-only file anywhere behind what was synced last: whatever is left of it, what was acknowledged
 * stands, and no script is carried out by halves (spec: faults, "power cut").
 */
import type { Redis } from "ioredis";
import { expect, test } from "vitest";

import type { Finish } from "../../../src/runner/source.ts";
import { AppendOnlyFile } from "../../support/append-only-file.ts";
import { seededRandom } from "../../support/signing.ts";
import { findFaults } from "../../support/store-faults.ts";
import { type Fixture, startStore } from "../../support/store.ts";

const SEED = 20_261_126;
const COMPLETED: Finish = { status: "completed", code: 0, isRetryable: true };
const CUTS = 40;
/** How far a job has come; it never goes back. */
const STAGES = ["missing", "pending", "running", "ended", "deleted"] as const;
type Stage = (typeof STAGES)[number];

/** What was acknowledged once the file was so long. */
interface Acknowledged {
  readonly bytes: number;
  readonly id: string;
  readonly stage: Stage;
}

/** Every kind of change a job goes through, each acknowledged before the next. */
async function play(fixture: Fixture, file: AppendOnlyFile): Promise<readonly Acknowledged[]> {
  const { store } = fixture;
  const source = await fixture.source();
  const acknowledged: Acknowledged[] = [];
  const note = async (id: string, stage: Stage): Promise<void> => {
    acknowledged.push({ bytes: (await file.read()).length, id, stage });
  };
  for (let round = 0; round < 4; round += 1) {
    const lease = await fixture.running(source);
    await note(lease.id, "running");
    const { id: waiting } = await fixture.admit({ isFair: round % 2 === 0 });
    await note(waiting, "pending");
    await source.append(lease, [{ attempt: 1, seq: 1, time_ms: Date.now(), stream: "stdout", text: "line" }]);
    expect(await source.finish(lease, COMPLETED)).toMatchObject({ outcome: "accepted" });
    await note(lease.id, "ended");
    await store.jobs.cancel(waiting, {}, "enough");
    await note(waiting, "ended");
    await store.jobs.delete(lease.id, {});
    await note(lease.id, "deleted");
  }
  await source.stop();
  await store.stop();
  return acknowledged;
}

async function stageOf({ keys }: Fixture, id: string, client: Redis): Promise<Stage> {
  const state = await client.hget(keys.job(id), "state");
  if (state === null) return (await client.exists(keys.tomb(id))) === 1 ? "deleted" : "missing";
  return state === "pending" || state === "running" ? state : "ended";
}

test.each([1, 4])(
  "A power cut leaves all that was acknowledged, and nothing half done, on %i shards",
  async (shards) => {
    const fixture = await startStore({ shards }, { aof: "always" });
    const { redis, keys } = fixture;
    const file = await AppendOnlyFile.of(redis);
    const firstCut = (await file.read()).length;
    const acknowledged = await play(fixture, file);
    const whole = await file.read();
    const random = seededRandom(SEED + shards);

    for (let cut = 0; cut < CUTS; cut += 1) {
      const bytes = firstCut + Math.floor(random() * (whole.length - firstCut));
      await file.cutPower(whole.subarray(0, bytes));
      const client = redis.client();
      const kept = acknowledged.filter((fact) => fact.bytes <= bytes);

      const behind: unknown[] = [];
      for (const { id, stage } of kept) {
        const present = await stageOf(fixture, id, client);
        if (STAGES.indexOf(present) < STAGES.indexOf(stage)) behind.push({ bytes, id, stage, present });
      }
      expect(behind).toEqual([]);
      expect({ bytes, faults: await findFaults(client, keys) }).toEqual({ bytes, faults: [] });
    }
  },
);
