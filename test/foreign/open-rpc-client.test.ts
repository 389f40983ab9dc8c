/** @open-rpc/client-js 2.1, as its README has it. */
import { Client, HTTPTransport, RequestManager, WebSocketTransport } from "@open-rpc/client-js";

import { describeForeign, type ForeignCall, type ForeignClient, refusedBy } from "./foreign-client.ts";

function toClient(client: Client): ForeignClient {
  const call = async ({ method, params }: ForeignCall): Promise<unknown> => {
    try {
      const result: unknown = await client.request({ method, ...(params === undefined ? {} : { params }) });
      return result;
    } catch (error) {
      return refusedBy(error);
    }
  };
  return {
    call,
    batch: async (calls) => {
      client.startBatch();
      const answers = calls.map(call);
      client.stopBatch();
      return Promise.all(answers);
    },
    close: () => client.close(),
  };
}

describeForeign("@open-rpc/client-js over HTTP", ({ httpUrl }) =>
  toClient(new Client(new RequestManager([new HTTPTransport(httpUrl)]))),
);

describeForeign("@open-rpc/client-js over WebSocket", ({ webSocketUrl }) =>
  toClient(new Client(new RequestManager([new WebSocketTransport(webSocketUrl)]))),
);
