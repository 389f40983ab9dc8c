/** json-rpc-2.0, with the carriers that its README has its users write. */
import { once } from "node:events";

import { createJSONRPCRequest, JSONRPCClient, type JSONRPCResponse } from "json-rpc-2.0";
import { WebSocket } from "ws";

import { describeForeign, type ForeignClient, refusedBy } from "./foreign-client.ts";

function toClient(client: JSONRPCClient): ForeignClient {
  return {
    call: async ({ method, params }) => {
      try {
        const result: unknown = await client.request(method, params);
        return result;
      } catch (error) {
        return refusedBy(error);
      }
    },
    batch: async (calls) => {
      const requests = calls.map(({ method, params }, index) => createJSONRPCRequest(`batch-${index}`, method, params));
      const responses = await client.requestAdvanced(requests);
      return requests.map(({ id }) => {
        const response = responses.find((each) => each.id === id);
        const result: unknown = response?.result;
        return response?.error === undefined ? result : refusedBy(response.error);
      });
    },
  };
}

function isResponse(value: unknown): value is JSONRPCResponse | JSONRPCResponse[] {
  return typeof value === "object" && value !== null;
}

function take(client: JSONRPCClient, text: string): void {
  const value: unknown = JSON.parse(text);
  if (isResponse(value)) client.receive(value);
}

describeForeign("json-rpc-2.0 over fetch", ({ httpUrl }) => {
  const client: JSONRPCClient = new JSONRPCClient(async (request) => {
    const response = await fetch(httpUrl, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(request),
    });
    if (response.status === 200) take(client, await response.text());
    else if (response.status !== 204) throw new Error(response.statusText);
  });
  return toClient(client);
});

describeForeign("json-rpc-2.0 over WebSocket", async ({ webSocketUrl }) => {
  const socket = new WebSocket(webSocketUrl);
  const client = new JSONRPCClient(async (request) => socket.send(JSON.stringify(request)));
  socket.on("message", (data: Buffer) => take(client, data.toString()));
  await once(socket, "open");
  return { ...toClient(client), close: () => socket.close() };
});
