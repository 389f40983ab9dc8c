/** Every carrier under the same tests: a new one joins with a line in {@link CARRIERS}. */
import { afterAll, beforeAll, describe } from "vitest";

import { CarrierError } from "../../src/errors.ts";
import type { Dialer, RequestHandler, TransportName } from "../../src/rpc/transport.ts";
import { createHttpDialer } from "../../transports/http/dialer.ts";
import { createWebSocketDialer } from "../../transports/websocket/dialer.ts";
import { aConnection } from "./dispatcher.ts";
import { anHttpListener } from "./http.ts";
import { myceliumCarrier } from "./mycelium-link.ts";
import { realPair, simulatedPair } from "./mycelium-pair.ts";
import { waitUntil } from "./wait.ts";
import { aPlainClient, aWebSocketListener } from "./websocket.ts";

/** A handler served over a carrier, and the client's end of it. */
export interface Link extends AsyncDisposable {
  readonly dialer: Dialer;
  /** Sends the bytes of one message as they are; undefined where nothing comes back. */
  send(message: Uint8Array): Promise<string | undefined>;
}

export interface Carrier {
  readonly name: TransportName;
  /** Where the name alone is not enough. */
  readonly title?: string;
  /** Before the first and after the last test: what all its links share. */
  readonly start?: () => Promise<void>;
  readonly stop?: () => Promise<void>;
  readonly open: (handler: RequestHandler) => Promise<Link>;
}

const CARRIERS: readonly Carrier[] = [
  { name: "in-process", open: openInProcess },
  { name: "http", open: openHttp },
  { name: "websocket", open: openWebSocket },
];

/** Small on purpose: the suite is about bytes. The real daemon takes a tenth of a second longer where there is no delay. */
const LINK_DELAY_MS = 2;

function overlayCarriers(): readonly Carrier[] {
  const binary = process.env["MYCELIUM_BIN"] ?? "";
  return [
    myceliumCarrier("simulated mycelium", async () => simulatedPair(LINK_DELAY_MS)),
    ...(binary === "" ? [] : [myceliumCarrier("real mycelium", async () => realPair(binary, LINK_DELAY_MS))]),
  ];
}

/** Declares the tests of `fn` once for each carrier; with MYCELIUM_BIN also over real daemons. */
export function describeTransports(title: string, fn: (carrier: Carrier) => void): void {
  for (const carrier of [...CARRIERS, ...overlayCarriers()]) {
    describe(`${title} (${carrier.title ?? carrier.name})`, () => {
      beforeAll(async () => carrier.start?.());
      afterAll(async () => carrier.stop?.());
      fn(carrier);
    });
  }
}

async function openInProcess(handler: RequestHandler): Promise<Link> {
  const send = async (message: Uint8Array): Promise<string | undefined> => {
    const { bytes } = await handler.handle(message, aConnection());
    return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
  };
  const dialer: Dialer = {
    url: "in-process:",
    validitySeconds: 120,
    maxWaitMs: 25_000,
    call: async ({ text, deadlineMs }) => {
      const late = new Promise<never>((_resolve, reject) => {
        setTimeout(() => reject(new CarrierError("no answer in time", "unknown")), deadlineMs).unref();
      });
      return (await Promise.race([send(new TextEncoder().encode(text)), late])) ?? "";
    },
    close: async () => undefined,
  };
  return { dialer, send, [Symbol.asyncDispose]: async () => undefined };
}

async function openHttp(handler: RequestHandler): Promise<Link> {
  const listener = await anHttpListener({ handler });
  const dialer = createHttpDialer(listener.url);
  return {
    dialer,
    send: async (body) => {
      const headers = { "content-type": "application/json" };
      const response = await fetch(listener.url, { method: "POST", headers, body });
      const text = await response.text();
      if (response.status !== (text === "" ? 204 : 200)) throw new Error(`${response.status} ${text}`);
      return text === "" ? undefined : text;
    },
    [Symbol.asyncDispose]: async () => {
      await dialer.close();
      await listener[Symbol.asyncDispose]();
    },
  };
}

async function openWebSocket(handler: RequestHandler): Promise<Link> {
  const listener = await aWebSocketListener({ handler });
  const dialer = createWebSocketDialer(listener.url);
  return {
    dialer,
    send: async (message) => {
      await using client = await aPlainClient(listener.url);
      // Binary: a text message that is not UTF-8 never gets as far as the handler.
      client.socket.send(message);
      // Whatever the message gets is on its way before the answer to the second of these.
      for (const id of ["first", "second"]) {
        const sentinel = `{"jsonrpc":"2.0","id":"${id}","method":"rpc.none"}`;
        client.send(sentinel);
        await waitUntil(() => client.received.some((text) => text.endsWith(`"id":"${id}"}`)));
      }
      return client.received.find((text) => !/"id":"(first|second)"\}$/u.test(text));
    },
    [Symbol.asyncDispose]: async () => {
      await dialer.close();
      await listener[Symbol.asyncDispose]();
    },
  };
}
