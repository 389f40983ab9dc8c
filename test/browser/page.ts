/** What a page does with the client: it runs in Chromium, bundled by chromium.test.ts from the package's own doors. */
import {
  buildJob,
  CarrierError,
  createSigner,
  followLogs,
  followStates,
  RpcError,
  signJob,
  SupervisorClient,
  verifyReceipt,
} from "horus-supervisor/client";
import { dial } from "horus-supervisor/dial";

/** Everything a test tells the page. */
export interface Wish {
  /** Its scheme chooses the carrier. */
  readonly url: string;
  readonly supervisor: string;
  readonly seed: string;
  readonly runner: string;
  readonly payload: string;
  /** Pinned. */
  readonly runnerKeys: readonly string[];
}

/** What the page saw. */
export interface Seen {
  readonly principal: string;
  readonly states: readonly string[];
  readonly log: readonly string[];
  readonly result: string | undefined;
  readonly trust: string;
  readonly findings: readonly string[];
  /** Code and data of a refusal. */
  readonly refusal: { readonly code: number; readonly data: unknown } | undefined;
}

async function run({ url, supervisor, seed, runner, payload, runnerKeys }: Wish): Promise<Seen> {
  const signer = createSigner(seed);
  const dialer = dial(url);
  const client = new SupervisorClient({ dialer, signer, supervisor });
  try {
    const { principal } = await client.call("whoami", {});
    const job = buildJob({ supervisor, caller: signer.publicKey, runner, payload });
    const { id } = await client.submitJob(await signJob(signer, job));
    const states: string[] = [];
    const watching = (async () => {
      for await (const { state } of followStates(client, id)) states.push(state);
    })();
    const entries = [];
    for await (const entry of followLogs(client, id)) entries.push(entry);
    await watching;
    const view = await client.call("get_job", { id });
    const { trust, findings } = verifyReceipt({ view, entries, supervisor, runnerKeys });
    return {
      principal,
      states,
      log: entries.flatMap(({ text }) => text ?? []),
      result: view.result?.text,
      trust,
      findings: findings.map(({ check, ok }) => `${check} ${ok ? "good" : "bad"}`),
      refusal: await refusalOf(client),
    };
  } finally {
    await dialer.close();
  }
}

async function refusalOf(client: SupervisorClient): Promise<Seen["refusal"]> {
  try {
    await client.call("get_job", { id: "not an id" });
  } catch (error) {
    if (error instanceof RpcError) return { code: error.code, data: error.data };
    throw error;
  }
  return undefined;
}

/** What a page whose origin is not listed gets to see. */
async function knock(url: string, supervisor: string): Promise<string> {
  const dialer = dial(url);
  try {
    const client = new SupervisorClient({ dialer, supervisor });
    return (await client.call("get_info", {}, { deadlineMs: 2000 })).identity;
  } catch (error) {
    return error instanceof CarrierError ? error.name : String(error);
  } finally {
    await dialer.close();
  }
}

Object.assign(globalThis, { run, knock });
