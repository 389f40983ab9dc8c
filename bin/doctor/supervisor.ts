/** What `supervisor doctor` looks at in a supervisor elsewhere: key and pin on this side, then whether it answers, and knows us. */
import type { Signer } from "../../src/auth/signature.ts";
import { SupervisorClient } from "../../src/client/index.ts";
import { RpcError } from "../../src/client/rpc-error.ts";
import { dataPaths } from "../../src/data-directory.ts";
import type { Dialer } from "../../src/rpc/transport.ts";
import type { Flags } from "../command.ts";
import { dialed, pinnedIdentity, signerAt, type Target } from "../connection.ts";
import { hintOf, refusalText } from "../hints.ts";
import { messageOf } from "../report.ts";
import type { Terminal } from "../terminal.ts";
import type { Check } from "./check.ts";

/** Longest time for one call, in ms: over the overlay the client would try for minutes. */
const PATIENCE_MS = 30_000;

/** Was one asked for, by its address or by what only a call to it needs? */
export function namesSupervisor(flags: Flags, { env }: Pick<Terminal, "env">): boolean {
  const isTold = ["to", "key", "supervisor"].some((name) => flags.text(name) !== undefined);
  return isTold || (env["SUPERVISOR_URL"] ?? "") !== "";
}

interface Circumstances {
  readonly terminal: Terminal;
  /** The way to it is known not to work, and said so: only this side is looked at. */
  readonly isCut: boolean;
}

/** @throws UsageError for an address that is none */
export async function checkSupervisor(target: Target, { terminal, isCut }: Circumstances): Promise<readonly Check[]> {
  const paths = dataPaths(target.dataDirectory);
  const file = target.key ?? paths.owner;
  const key = await found(
    `key ${file}`,
    async () => signerAt(file),
    ({ publicKey }) => publicKey,
  );
  const pin = await found(
    `identity of ${target.url}`,
    async () => pinnedIdentity(target, paths),
    (text) => text,
  );
  const answers = await dialed(target, {
    terminal,
    use: async (dialer) => (isCut ? [] : checkAnswers(target.url, { dialer, pin: pin.value, signer: key.value })),
  });
  return [key.check, pin.check, ...answers];
}

interface Ways {
  readonly dialer: Dialer;
  /** Undefined where it is not known: then nothing can be signed for it. */
  readonly pin: string | undefined;
  readonly signer: Signer | undefined;
}

async function checkAnswers(url: string, { dialer, pin, signer }: Ways): Promise<readonly Check[]> {
  const what = `supervisor ${url}`;
  const open = new SupervisorClient({ dialer, supervisor: pin ?? "" });
  const info = await found(
    what,
    async () => open.call("get_info", {}, { deadlineMs: PATIENCE_MS }),
    ({ identity }) => `answers, as ${identity}`,
  );
  if (info.value === undefined || pin === undefined) return [info.check];
  if (info.value.identity !== pin) {
    const fix = "Pin what its own first lines tell (--supervisor, or known_supervisors), or name another with --to";
    return [{ what, verdict: "fault", says: `answers as ${info.value.identity}, which is not the pinned one. ${fix}` }];
  }
  return [info.check, ...(signer === undefined ? [] : [await checkRights({ dialer, signer, supervisor: pin })])];
}

async function checkRights(parts: ConstructorParameters<typeof SupervisorClient>[0]): Promise<Check> {
  const { check } = await found(
    "whoami",
    async () => new SupervisorClient(parts).call("whoami", {}, { deadlineMs: PATIENCE_MS }),
    ({ name, principal, roles, runners }) =>
      `${name} of ${principal}, roles ${roles.join(", ")}, runners ${runners.join(", ") || "-"}`,
  );
  return check;
}

/** One look, and what it found for the next one. */
async function found<Value>(
  what: string,
  look: () => Promise<Value>,
  says: (value: Value) => string,
): Promise<{ readonly check: Check; readonly value?: Value }> {
  try {
    const value = await look();
    return { check: { what, verdict: "good", says: says(value) }, value };
  } catch (error) {
    return { check: { what, verdict: "fault", says: reasonOf(error) } };
  }
}

function reasonOf(error: unknown): string {
  return error instanceof RpcError ? refusalText(error, { hint: hintOf(error, "whoami") }) : messageOf(error);
}
