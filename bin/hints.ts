/** What to do about a refusal of the supervisor: one sentence or two for each code of the error table. */
import { RpcError } from "../src/client/rpc-error.ts";
import { CarrierError, type ErrorName, ERRORS, errorText } from "../src/errors.ts";
import type { Flags } from "./command.ts";
import { visible } from "./job-words.ts";
import { refusalWords } from "./refusal-words.ts";
import { toTheSame } from "./shell-words.ts";

const VERSIONS = "Are client and supervisor of one version? supervisor --version on both machines tells";

const HINTS: Readonly<Record<ErrorName, string>> = {
  parse: `${VERSIONS}; or something on the way changes what is sent.`,
  invalidRequest: `${VERSIONS}; or something on the way changes what is sent.`,
  methodNotFound: `${VERSIONS}.`,
  invalidParams: `Mend the value that is named. Where it looks right: ${lowerFirst(VERSIONS)}.`,
  internal: "The supervisor's log says more, under the request id where one is named.",
  unauthenticated: "Is this key in the supervisor's keys.toml, and not revoked or expired? --key names another.",
  stale: "Set the clocks, with NTP on both machines.",
  forbidden: "What this key may do: supervisor whoami; which runners there are: supervisor runner list.",
  notFound: "Jobs that this key may see: supervisor job list.",
  replay:
    "The same call came before and may have been carried out: look (supervisor job list), then give the command again.",
  wrongAudience:
    "Another supervisor answers there than the one that is pinned: see --supervisor and known_supervisors.",
  conflict: "Leave out --id, or give a new one.",
  wrongState: "Look how it stands now: supervisor job get ID, or supervisor runner status NAME.",
  tooLarge:
    "Send less, or raise the limit that is named in the supervisor's settings (mycelium.toml.example has them all).",
  tooMany:
    "Try again later (where a time is named, then), or raise the limit that is named: rate is the key's in keys.toml, the " +
    "others are the supervisor's settings.",
  unavailable: "The supervisor runs, but its Redis does not serve it: see supervisor doctor and the log there.",
};

type Hints = Readonly<Partial<Record<ErrorName, string>>>;

/** By the first word of the command: what it hears for other reasons than most, or what most are sent to. */
const HINTS_OF: ReadonlyMap<string, Hints> = new Map<string, Hints>([
  [
    "job",
    {
      wrongState:
        "Look how it stands now: supervisor job get ID. One that runs is cancelled first: supervisor job cancel ID.",
    },
  ],
  [
    "runner",
    {
      notFound: "Runners that this key may see: supervisor runner list.",
      conflict: "Runners and groups that there are: supervisor runner list.",
    },
  ],
  [
    "whoami",
    {
      forbidden:
        "The key is enrolled and has no role, so it can sign a job that needs approval, and ask nothing: roles in the " +
        "supervisor's keys.toml are what it may do.",
    },
  ],
]);

/** What to do about a refusal that a command got; undefined for a code of another server. */
export function hintOf({ code, data }: Pick<RpcError, "code" | "data">, command = ""): string | undefined {
  const hints = new Map(Object.entries({ ...HINTS, ...HINTS_OF.get(command) }));
  const found = Object.entries(ERRORS).find(([, error]) => error.code === code);
  const hint = found === undefined ? undefined : hints.get(found[0]);
  return code === ERRORS.unavailable.code ? `${hint} ${againAfter(data)}` : hint;
}

/** Whether the same command may be given again after an outage that may have come before it or after. */
function againAfter(data: unknown): string {
  return isSurelyUndone(data)
    ? "Nothing was done: give the same command again."
    : "The same command again is safe for everything but a new job: for that, look first whether it arrived (supervisor job list).";
}

function isSurelyUndone(data: unknown): boolean {
  return memberOf(data, "applied") === "no";
}

/** A member of a refusal's data, which another server may have filled with anything. */
function memberOf(data: unknown, name: string): unknown {
  return typeof data === "object" ? new Map(Object.entries({ ...data })).get(name) : undefined;
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

/**
 * A refusal as one line, with what to do about it; a code of another server stands without. Its data in words, or for
 * whoever asked for JSON as they are.
 */
export function refusalText(
  { code, message, data }: RpcError,
  { hint, isJson = false }: { readonly hint?: string | undefined; readonly isJson?: boolean },
): string {
  const json = data === undefined ? "" : ` ${JSON.stringify(data)}`;
  // How a call is signed is for programs that do not: our own commands do.
  const isKnown = code === ERRORS.unauthenticated.code && typeof data === "object";
  const details = isJson ? json : refusalWords(isKnown ? { ...data, fix: undefined } : data);
  return `the supervisor answered ${code}: ${visible(message)}${details}${hint === undefined ? "" : `. ${hint}`}`;
}

/** A refusal whose meaning the command knows better than the table does. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
  readonly refusal: RpcError;
  readonly hint: string;

  constructor(refusal: RpcError, hint: string) {
    super(refusalText(refusal, { hint }), { cause: refusal });
    this.refusal = refusal;
    this.hint = hint;
  }
}

/**
 * A job was refused: says what may be behind `forbidden`, which tells nobody whether a runner exists. Other errors stay as
 * they are.
 */
export function explainJobRefusal(error: unknown, runner: string): unknown {
  if (!(error instanceof RpcError) || error.code !== ERRORS.forbidden.code) return error;
  const hint =
    error.data === undefined
      ? `Either no runner or group "${runner}" is registered (supervisor runner list; then supervisor runner start ${runner}, ` +
        `or register ${runner}), or this key may not send to it (supervisor whoami; then roles and runners in the supervisor's keys.toml).`
      : "Let others sign: supervisor submit --sign-only --out FILE, then supervisor cosign FILE, then supervisor submit --signed FILE.";
  return new RefusedError(error, hint);
}

/** Nobody knows whether a job was taken: names it, so that it can be looked for, and sent again as the same job. */
export function explainUnclearJob(error: unknown, id: string, flags: Flags): unknown {
  if (!isUnclear(error)) return error;
  const isNamed = flags.text("signed") !== undefined || flags.text("id") !== undefined;
  const hint =
    `Whether the job arrived is not known. Look: supervisor job get ${toTheSame(flags, id)}; ` +
    `or give the same command again${isNamed ? "" : ` with --id ${id}`}: it is the same job, and never a second one`;
  if (error instanceof RpcError) return new RefusedError(error, hint);
  return new Error(`${errorText(error)}. ${hint}`, { cause: error });
}

function isUnclear(error: unknown): boolean {
  if (error instanceof CarrierError) return error.applied === "unknown";
  return error instanceof RpcError && error.code === ERRORS.unavailable.code && !isSurelyUndone(error.data);
}

/** A job that was taken is asked after in vain: another submit would make a second one. */
export function explainLostSight(error: unknown, id: string, flags: Flags): unknown {
  if (!(error instanceof RpcError) || error.code !== ERRORS.unavailable.code) return error;
  const hint = `The job was taken before and goes on: supervisor job wait ${toTheSame(flags, id)}`;
  return new RefusedError(error, hint);
}

/** A runner is not removed: says how many jobs wait for it alone, and what becomes of them either way. */
export function explainRemovalRefusal(error: unknown, runner: string, flags: Flags): unknown {
  if (!(error instanceof RpcError) || error.code !== ERRORS.wrongState.code) return error;
  const waiting = memberOf(error.data, "waiting");
  const jobs = waiting === 1 ? "1 job waits" : `${String(waiting)} jobs wait`;
  return new Error(
    `${jobs} that only ${runner} could take. Start it and let it take them, or cancel them with it: ` +
      `supervisor runner remove ${toTheSame(flags, `${runner} --force`)}`,
    { cause: error },
  );
}
