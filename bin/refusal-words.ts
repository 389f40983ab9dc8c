/** What a refusal's data say, in words for a person; programs read the data themselves. */
import { counted } from "../src/counted.ts";
import { visible } from "./job-words.ts";

type Data = Readonly<Record<string, unknown>>;

/** Members that stand in one phrase with another. */
const TOGETHER: ReadonlySet<string> = new Set(["path", "expected", "limit", "allowed", "present"]);

const APPLIED: Readonly<Record<string, string>> = {
  no: "nothing was done",
  unknown: "whether it was done is not known",
  yes: "it was done",
};

/** What the error table promises for its codes; whatever else comes is told by its own name. */
const WORDS: Readonly<Record<string, (value: unknown) => string>> = {
  retry_after_ms: (value) => `again in ${Math.ceil(Number(value) / 100) / 10} s`,
  now: (value) => `its clock says ${clock(Number(value))}`,
  max_validity_seconds: (value) => `a signature may hold ${plain(value)} s at most`,
  identity: (value) => `it is ${plain(value)}`,
  state: (value) => `it is ${plain(value)}`,
  applied: (value) => APPLIED[plain(value)] ?? plain(value),
  reason: (value) => plain(value).replaceAll("_", " "),
  approvals_missing: (value) => `${counted(Number(value), "signature")} more`,
  request_id: (value) => `request id ${plain(value)}`,
  fix: (value) => plain(value).replace(/\.$/u, ""),
};

/** In brackets with a blank before, to stand behind the message; empty where there is nothing to say. */
export function refusalWords(data: unknown): string {
  const phrases =
    typeof data === "object" && data !== null && !Array.isArray(data) ? phrasesOf({ ...data }) : [plain(data)];
  const text = phrases.filter((phrase) => phrase !== "").join("; ");
  return text === "" ? "" : ` (${text})`;
}

function phrasesOf(data: Data): readonly string[] {
  const others = Object.entries(data).filter(([name]) => !TOGETHER.has(name));
  return [pathWords(data), limitWords(data), ...others.map(([name, value]) => wordsOf(name, value))];
}

function wordsOf(name: string, value: unknown): string {
  const words = Object.hasOwn(WORDS, name) ? WORDS[name] : undefined;
  return words === undefined ? `${visible(name)} ${plain(value)}` : words(value);
}

function pathWords({ path, expected }: Data): string {
  return [path, expected]
    .map(plain)
    .filter((part) => part !== "")
    .join(": ");
}

function limitWords({ limit, allowed, present }: Data): string {
  const counts = [
    ...(allowed === undefined ? [] : [`${plain(allowed)} allowed`]),
    ...(present === undefined ? [] : [`${plain(present)} present`]),
  ].join(", ");
  return [plain(limit), counts].filter((part) => part !== "").join(": ");
}

/** UNIX seconds. */
function clock(seconds: number): string {
  const ms = seconds * 1000;
  return Math.abs(ms) <= 8.64e15 ? `${new Date(ms).toISOString().slice(0, 19)}Z` : `second ${seconds}`;
}

/** A value as it reads: texts and numbers bare, lists with commas. It comes from elsewhere, and may hold what a terminal obeys. */
function plain(value: unknown): string {
  if (value === undefined || value === null) return "";
  if (Array.isArray(value)) return value.map(plain).join(", ");
  if (typeof value === "string") return visible(value);
  if (typeof value !== "object") return JSON.stringify(value);
  return Object.entries(value)
    .map(([name, inner]) => `${visible(name)} ${plain(inner)}`)
    .join(", ");
}
