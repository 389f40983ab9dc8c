/** jayson 5, by its promises as its README has them; the WebSocket is its own (ws 7). */
import { once } from "node:events";

import jayson from "jayson/promise/index.js";

import { waitUntil } from "../support/wait.ts";
import { describeForeign, type ForeignCall, type ForeignClient, refusedBy } from "./foreign-client.ts";

/** jayson resolves with the response object, errors among them. */
function outcomeOf(response: unknown): unknown {
  const { result, error }: { result?: unknown; error?: unknown } =
    typeof response === "object" && response !== null ? response : {};
  return error === undefined ? result : refusedBy(error);
}

function idOf(response: unknown): unknown {
  return typeof response === "object" && response !== null && "id" in response ? response.id : undefined;
}

function toClient(client: jayson.Client): ForeignClient {
  return {
    // "No params" is an empty array to jayson.
    call: async ({ method, params = [] }) => outcomeOf(await client.request(method, params)),
    batch: async (calls) => {
      const requests = calls.map(({ method, params = [] }: ForeignCall) =>
        client.request(method, params, undefined, false),
      );
      const responses: unknown = await client.request(requests);
      const list: readonly unknown[] = Array.isArray(responses) ? responses : [];
      return requests.map(({ id }) => outcomeOf(list.find((response) => idOf(response) === id)));
    },
  };
}

describeForeign("jayson over HTTP", ({ httpUrl }) => {
  const { hostname, port } = new URL(httpUrl);
  return toClient(jayson.Client.http({ hostname, port }));
});

describeForeign("jayson over WebSocket", async ({ webSocketUrl }) => {
  const client = jayson.Client.websocket({ url: webSocketUrl, timeout: 20_000 });
  const ws: unknown = Reflect.get(client, "ws");
  if (!isSocket(ws)) throw new Error("jayson has no socket");
  await once(ws, "open");
  return {
    ...toClient(client),
    close: async () => {
      ws.close();
      await waitUntil(() => ws.readyState === ws.CLOSED);
    },
  };
});

interface Socket extends NodeJS.EventEmitter {
  readonly readyState: number;
  readonly CLOSED: number;
  close(): void;
}

function isSocket(value: unknown): value is Socket {
  return typeof value === "object" && value !== null && "readyState" in value && "close" in value;
}
