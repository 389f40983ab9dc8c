/** What a signed job would do, in plain words for the person who is asked to sign it too. */
import { canonicalText } from "../src/auth/canonical-json.ts";
import { signingInput, verifySignature } from "../src/auth/signature.ts";
import type { SignedJob } from "../src/client/job.ts";
import { counted } from "../src/counted.ts";
import type { JobDocument } from "../src/rpc/schema.ts";

/** Lines and characters of the payload that are shown unless all of it is asked for. */
const EXCERPT_LINES = 40;
const EXCERPT_LENGTH = 4000;
/**
 * Characters that a terminal obeys instead of showing, or that change the order in which it shows others (CVE-2021-42574):
 * a job must not be able to hide what it does from whoever reads it.
 */
const INVISIBLE = /[\p{C}\p{Zl}\p{Zp}]/gu;

export interface WordsOptions {
  /** UNIX ms. */
  readonly now: number;
  /** All of the payload, and the values of the environment. */
  readonly isFull: boolean;
  /** What is known of a key, for people; undefined: nothing. */
  nameOf(key: string): string | undefined;
}

/** Keys whose signature over the job is not good: it must not be signed on, and no supervisor admits it. */
export function badSigners({ job, signatures }: SignedJob): readonly string[] {
  const text = canonicalText(job);
  if (!text.ok) return signatures.map((entry) => entry.public_key);
  const input = signingInput("job", text.text);
  return signatures
    .filter((entry) => !verifySignature(entry.public_key, entry.signature, input))
    .map((entry) => entry.public_key);
}

/** One line a fact. */
export function jobWords(signed: SignedJob, options: WordsOptions): readonly string[] {
  const { job, signatures } = signed;
  const bad = new Set(badSigners(signed));
  const named = (key: string): string => {
    const name = options.nameOf(key);
    return name === undefined ? key : `${key} (${visible(name)})`;
  };
  return [
    `job         ${job.id}`,
    `supervisor  ${job.aud}`,
    `runs on     ${job.runner}, with ${job.executor === undefined ? "its only executor" : `executor ${job.executor}`}`,
    `owner       ${named(job.caller_id)}`,
    ...(job.context_id === undefined ? [] : [`context     ${visible(job.context_id)}`]),
    `timeout     ${job.timeout} s an attempt, ${attempts(job)}`,
    `starts      ${startWords(job, options.now)}`,
    ...environmentLines(job, options.isFull),
    ...payloadLines(job.payload, options.isFull),
    ...signatures.map(
      (entry) => `signed by   ${named(entry.public_key)}${bad.has(entry.public_key) ? ": THE SIGNATURE IS WRONG" : ""}`,
    ),
    ...(signatures.some((entry) => entry.public_key === job.caller_id)
      ? []
      : ["            the owner has not signed yet"]),
  ];
}

function attempts({ max_attempts: most = 1, on_loss: onLoss = "retry" }: JobDocument): string {
  const failing = most === 1 ? "one attempt" : `up to ${most} attempts`;
  return `${failing}${onLoss === "retry" ? ", again when its runner vanishes" : ""}`;
}

function startWords({ not_before: from, expires_at: until }: JobDocument, nowMs: number): string {
  const now = nowMs / 1000;
  const earliest = from === undefined || from <= now ? "" : `not before ${moment(from)}, `;
  return `${earliest}${until < now ? `EXPIRED at ${moment(until)}` : `until ${moment(until)} at the latest`}`;
}

function moment(seconds: number): string {
  const ms = seconds * 1000;
  return Math.abs(ms) > 8.64e15 ? `second ${seconds}` : `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

function environmentLines({ env_vars: variables = {} }: JobDocument, isFull: boolean): readonly string[] {
  const entries = Object.entries(variables).toSorted(([a], [b]) => (a < b ? -1 : 1));
  if (entries.length === 0) return ["environment none"];
  if (!isFull) return [`environment ${entries.map(([name]) => name).join(", ")} (values with --full)`];
  return ["environment", ...entries.map(([name, value]) => `  ${name}=${visible(value)}`)];
}

function payloadLines(payload: string, isFull: boolean): readonly string[] {
  const bytes = new TextEncoder().encode(payload).length;
  const lines = (isFull ? payload : payload.slice(0, EXCERPT_LENGTH)).split("\n");
  const shown = isFull ? lines : lines.slice(0, EXCERPT_LINES);
  const isWhole = shown.join("\n").length === payload.length;
  return [
    `payload     ${counted(bytes, "byte")}${isWhole ? "" : ", the first of them (all with --full)"}`,
    ...shown.map((line) => `  | ${visible(line)}`),
    ...(isWhole ? [] : ["  | …"]),
  ];
}

/** Text without any character that would not be seen as itself. */
export function visible(text: string): string {
  return text.replace(INVISIBLE, (letter) => `\\u{${(letter.codePointAt(0) ?? 0).toString(16)}}`);
}
