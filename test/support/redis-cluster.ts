/** A real Redis Cluster of masters on loopback, for tests. */
import { Cluster } from "ioredis";
import { onTestFinished } from "vitest";

import { freePort } from "../../bin/demo/port.ts";
import { startRedis, type TestRedis } from "./redis.ts";
import { waitUntil } from "./wait.ts";

const SLOTS = 16_384;
/** Each node has heard of all slots: without full coverage it is "ok" before that. */
const WHOLE = ["cluster_state:ok", `cluster_slots_assigned:${SLOTS}`];

export interface TestCluster {
  /** `redis+cluster://…` naming the first node alone: clients find the others. */
  readonly url: string;
  readonly nodes: readonly TestRedis[];
  client(): Cluster;
  /** Ids of the nodes, in their order. */
  ids(): Promise<readonly string[]>;
}

/** Starts the masters, shares the slots out, and waits until every node says that the cluster is whole. */
export async function startCluster(masters = 3): Promise<TestCluster> {
  const nodes = await Promise.all(
    Array.from({ length: masters }, async () => {
      const busPort = await freePort();
      const settings = [
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        String(busPort),
        "--cluster-node-timeout",
        "2000",
      ];
      // The part of the data that is there goes on when another part is away.
      return {
        busPort,
        redis: await startRedis({ port: true, settings: [...settings, "--cluster-require-full-coverage", "no"] }),
      };
    }),
  );
  const clients = nodes.map(({ redis }) => redis.client());
  await Promise.all(
    clients.map(async (client, index) => {
      const [from, until] = [index, index + 1].map((at) => Math.floor((SLOTS * at) / masters));
      await client.call("CLUSTER", "ADDSLOTSRANGE", Number(from), Number(until) - 1);
      await client.call("CLUSTER", "SET-CONFIG-EPOCH", index + 1);
    }),
  );
  for (const { redis, busPort } of nodes.slice(1)) {
    await clients[0]?.call("CLUSTER", "MEET", "127.0.0.1", Number(redis.port), busPort);
  }
  await waitUntil(async () => {
    const infos = await Promise.all(clients.map(async (client) => String(await client.call("CLUSTER", "INFO"))));
    return infos.every(
      (info) => WHOLE.every((line) => info.includes(line)) && info.includes(`cluster_known_nodes:${masters}`),
    );
  });
  const port = Number(nodes[0]?.redis.port);
  return {
    url: `redis+cluster://127.0.0.1:${port}`,
    nodes: nodes.map(({ redis }) => redis),
    client() {
      const cluster = new Cluster([{ host: "127.0.0.1", port }]);
      cluster.on("error", () => undefined);
      onTestFinished(() => cluster.disconnect());
      return cluster;
    },
    ids: async () => Promise.all(clients.map(async (client) => String(await client.call("CLUSTER", "MYID")))),
  };
}
