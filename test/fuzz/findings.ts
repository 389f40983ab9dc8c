/** What is wrong about an outcome, or about what is left when all is quiet: pure, so that each can be tested. */
import { ERRORS } from "../../src/errors.ts";
import type { Outcome } from "./exchange.ts";
import type { Carrier } from "./inputs.ts";

/**
 * `crash`: the program ended. `unanswered`: no answer, no close within the deadline. `admitted`: it changed something.
 * `internal`: a defect was met and told as one. `odd`: an answer nobody can read. `refused`: a good job was not admitted.
 * `memory`: it kept something.
 */
export type FindingKind = "crash" | "unanswered" | "admitted" | "internal" | "odd" | "refused" | "memory";

export interface Finding {
  readonly kind: FindingKind;
  /** Of the input, where there is one to blame; several where it was one of these. */
  readonly inputs: readonly number[];
  readonly text: string;
}

/** Every status that the HTTP listener and the upgrade have (spec: api, "HTTP"). */
const STATUSES = new Set([101, 200, 204, 400, 403, 404, 405, 408, 413, 415, 417, 431, 503]);
/** RFC 6455 §7.4.1, those a server of ours sends: it echoes what it was sent, and says what was wrong. */
const isCloseCode = (code: number): boolean => (code >= 1000 && code <= 1014) || (code >= 3000 && code < 5000);

/** A part of what `create_job` answers and nothing else does. */
const ADMITTED = '"duplicate":false';
/** What the calls among the material answer that were signed to change something. */
const CHANGED = /"result":\{[^{}]*"(?:deleted|removed)":true/u;

/** The OpenRPC document, whose examples look like all of that; what stands in Redis at the end is looked at anyway. */
const DOCUMENT = '{"openrpc":"';

/** Of a malformed input. */
export function faultOf(
  outcome: Outcome,
  { carrier, mayBeSilent }: { readonly carrier: Carrier; readonly mayBeSilent: boolean },
): { readonly kind: FindingKind; readonly text: string } | undefined {
  const { ending, code, text } = outcome;
  if (ending === "unanswered") return { kind: "unanswered", text: shown(outcome) };
  if (text.startsWith(DOCUMENT)) return undefined;
  if (text.includes(ADMITTED) || CHANGED.test(text)) return { kind: "admitted", text: shown(outcome) };
  if (text.includes(`"code":${ERRORS.internal.code}`)) return { kind: "internal", text: shown(outcome) };
  if (code !== undefined && !isKnown(code, carrier)) return { kind: "odd", text: shown(outcome) };
  if (code === 204 && !mayBeSilent) return { kind: "unanswered", text: "204 to what has an answer" };
  return undefined;
}

function isKnown(code: number, carrier: Carrier): boolean {
  return STATUSES.has(code) || (carrier === "websocket" && isCloseCode(code));
}

/** Of a good job. */
export function isAdmitted({ ending, text }: Outcome, id: string): boolean {
  return ending === "answered" && text.includes(ADMITTED) && text.includes(id);
}

export function shown({ ending, code, text }: Outcome): string {
  return `${ending} ${code ?? ""} ${text.slice(0, 300)}`.trim();
}

/** Events of the log that only a defect writes, as lines. */
export function defectsIn(output: string): readonly string[] {
  return output
    .split("\n")
    .filter((line) => /"level":"?(?:error|fatal|50|60)\b/u.test(line) || /^\s*at .*\.js:\d+/u.test(line));
}

/** A heap that is not back: more than a fifth above its start. Less is as good as none. */
export function hasGrown(before: number, after: number): boolean {
  return after > before * 1.2;
}
