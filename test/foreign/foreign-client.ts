/** What every client that we did not write must be able to do here, used as its own users use it. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { ERRORS } from "../../src/errors.ts";
import { startServedNode, type ServedNode } from "../support/served-node.ts";

export interface ForeignCall {
  readonly method: string;
  /** By name; absent where there are none. */
  readonly params?: object;
}

/** What the client's user sees of an error object. */
export interface Refused {
  readonly code: number;
  readonly data: unknown;
}

/** One client over one carrier. */
export interface ForeignClient {
  /** Gives the result, or what its user sees of a refusal. */
  call(call: ForeignCall): Promise<unknown>;
  /** All in one message; the answers in the order of the calls. */
  batch(calls: readonly ForeignCall[]): Promise<readonly unknown[]>;
  close?(): Promise<void> | void;
}

const A_TIME: unknown = expect.any(Number);
const STALE = { code: ERRORS.stale.code, data: expect.objectContaining({ now: A_TIME }) as unknown };

/** Declares the tests; `open` is given what serves, and answers with the client. */
export function describeForeign(
  title: string,
  open: (served: ServedNode) => Promise<ForeignClient> | ForeignClient,
): void {
  describe(`foreign client: ${title}`, () => {
    let served: ServedNode;
    let client: ForeignClient;
    beforeAll(async () => {
      served = await startServedNode();
      client = await open(served);
    });
    afterAll(async () => {
      await client.close?.();
      await served[Symbol.asyncDispose]();
    });

    test("reads what needs no credential", async () => {
      const info = await client.call({ method: "get_info" });

      expect(info).toMatchObject({ identity: served.node.identity });
    });

    test("submits a signed job", async () => {
      const params = await served.jobParams();

      const created = await client.call({ method: "create_job", params });

      expect(created).toMatchObject({ id: params.job.id, state: "pending", queue: "build" });
      await expect(served.node.client("alice").call("get_job", { id: params.job.id })).resolves.toMatchObject({
        job: params.job,
      });
    });

    test("sends a batch, and gives each call its own answer", async () => {
      const params = await served.jobParams();

      const answers = await client.batch([
        { method: "whoami", params: await served.callParams("whoami") },
        { method: "create_job", params },
        { method: "get_info" },
      ]);

      expect(answers).toMatchObject([
        { principal: "alice" },
        { id: params.job.id, duplicate: false },
        { identity: served.node.identity },
      ]);
    });

    test("tells its user the code and the data of a refusal", async () => {
      const unknown = await client.call({ method: "get_info", params: { verbose: true } });
      const stale = await client.call({ method: "whoami", params: await served.callParams("whoami", {}, 3600) });

      expect(unknown).toMatchObject({
        code: ERRORS.invalidParams.code,
        data: { path: "params.verbose", expected: "no such parameter" },
      });
      expect(stale).toMatchObject(STALE);
    });
  });
}

/** A client's error object as far as its type promises nothing. */
export function refusedBy(error: unknown): Refused {
  const { code, data }: { code?: unknown; data?: unknown } = typeof error === "object" && error !== null ? error : {};
  if (typeof code !== "number") throw new Error("The client told no code", { cause: error });
  return { code, data };
}
