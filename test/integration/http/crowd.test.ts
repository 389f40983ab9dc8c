/** A new caller beside idle and slow connections: `npm run bench -- idle`, small. */
import { expect, test } from "vitest";

import { HttpConnection } from "../../bench/http-connection.ts";
import { percentile } from "../../bench/latencies.ts";
import { Crowd } from "../../support/crowd.ts";
import { anHttpListener, aPost, GET_INFO } from "../../support/http.ts";

const HOST = "127.0.0.1";
const [IDLE, SLOW] = [100, 20];
const CALLS = 200;
/** The bench looks at the 99th percentile, and is alone on the machine. */
const SHARE = 0.5;
/** A machine that is never quiet spoils a round; it does not spoil all of them. */
const ROUNDS = 5;

/** A connection of its own, one call, and away; the time of it. */
async function newCaller(port: number): Promise<number> {
  const startedMs = performance.now();
  const connection = await HttpConnection.open(HOST, port);
  await connection.exchange(Buffer.from(aPost(GET_INFO)));
  connection.close();
  return performance.now() - startedMs;
}

test("a new caller beside many idle and slow connections takes at most three times as long as one alone, in the median", async () => {
  await using quiet = await anHttpListener();
  await using crowded = await anHttpListener({ limits: { maxConnections: IDLE + SLOW + 10 } });
  const crowd = { host: HOST, port: crowded.port, idle: IDLE, slow: SLOW, upgraded: 0, byteMs: 50 };
  await using gathered = await Crowd.gather(crowd);
  expect(gathered.size).toBe(IDLE + SLOW);

  const ratios: number[] = [];
  for (let round = 0; round < ROUNDS && Math.min(...ratios) > 3; round += 1) {
    const [alone, beside]: [number[], number[]] = [[], []];
    for (let call = 0; call < CALLS; call += 1) {
      alone.push(await newCaller(quiet.port));
      beside.push(await newCaller(crowded.port));
    }
    ratios.push(percentile(beside, SHARE) / percentile(alone, SHARE));
  }

  expect(Math.min(...ratios)).toBeLessThanOrEqual(3);
});
