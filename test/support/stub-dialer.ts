/** A carrier without a wire: answers in process, so that a client can be tested alone. */
import type { Dialer, OutgoingCall } from "../../src/rpc/transport.ts";
import { objectOf } from "./signing.ts";

/** A request as the other side reads it. */
export interface SeenRequest {
  readonly id: unknown;
  readonly method: unknown;
  readonly params: Readonly<Record<string, unknown>>;
  readonly call: OutgoingCall;
}

/** What the other side says: a result, an error object, a text as it is; or it throws like a carrier. */
export type StubAnswer = { readonly result: unknown } | { readonly error: object } | { readonly text: string };

export interface StubDialer extends Dialer {
  readonly seen: readonly SeenRequest[];
}

/** @param answer is asked for each request, with the number of those before it. */
export function aDialer(
  answer: (request: SeenRequest, count: number) => StubAnswer | Promise<StubAnswer>,
  wanted: Partial<Omit<Dialer, "url" | "call" | "close">> = {},
): StubDialer {
  const seen: SeenRequest[] = [];
  return {
    url: "stub://",
    validitySeconds: 120,
    maxWaitMs: 25_000,
    ...wanted,
    seen,
    call: async (call) => {
      const { id, method, params } = objectOf(call.text);
      const request = { id, method, params: objectOf(JSON.stringify(params)), call };
      seen.push(request);
      const said = await answer(request, seen.length - 1);
      return "text" in said ? said.text : JSON.stringify({ jsonrpc: "2.0", id, ...said });
    },
    close: async () => undefined,
  };
}
