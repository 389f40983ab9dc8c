/** URL to dialer: the scheme chooses the carrier. */
import type { Dialer } from "../src/rpc/transport.ts";
import { createHttpDialer, type HttpDialerOptions } from "./http/dialer.ts";
import { MyceliumDialer, type MyceliumDialerOptions } from "./mycelium/dialer.ts";
import { createWebSocketDialer } from "./websocket/dialer.ts";

/** Each carrier takes of these what it knows. */
export interface DialOptions extends HttpDialerOptions {
  /** The local daemon and the topic, for `mycelium://…`. */
  readonly mycelium?: Omit<MyceliumDialerOptions, "url">;
}

/** One line a scheme. */
const CARRIERS: Readonly<Record<string, (url: string, options: DialOptions) => Dialer & AsyncDisposable>> = {
  http: createHttpDialer,
  https: createHttpDialer,
  ws: createWebSocketDialer,
  wss: createWebSocketDialer,
  mycelium: (url, { mycelium }) => new MyceliumDialer({ ...mycelium, url }),
};

/**
 * A dialer for `http://…`, `https://…`, `ws://…`, `wss://…` or `mycelium://<node key or overlay address>`. Connects with the first call.
 * Whoever dialled closes, by `await using` or `close()`: an open WebSocket keeps the process alive.
 * @throws Error naming the URL and the schemes there are.
 */
export function dial(url: string, options: DialOptions = {}): Dialer & AsyncDisposable {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(url)?.[1]?.toLowerCase() ?? "";
  const carrier = Object.hasOwn(CARRIERS, scheme) ? CARRIERS[scheme] : undefined;
  if (carrier !== undefined) return carrier(url, options);
  const schemes = Object.keys(CARRIERS).map((name) => `${name}://`);
  throw new Error(`${JSON.stringify(url)}: not supported. Use a URL that begins with ${schemes.join(", ")}.`);
}
