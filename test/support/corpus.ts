/** Reads `.io` files: lines that begin with `>>` are sent, `<<` must come back, `#` explains. */
import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";

export interface Conversation {
  /** The comment before it. */
  readonly title: string;
  readonly request: Uint8Array;
  /** Absent: nothing may be answered. */
  readonly answer?: string;
}

const FOLDER = new URL("../contract/corpus/", import.meta.url);

export interface Corpus {
  readonly name: string;
  readonly conversations: readonly Conversation[];
}

/** All files of `test/contract/corpus`. */
export function loadCorpora(): readonly Corpus[] {
  const files = readdirSync(FOLDER).filter((file) => file.endsWith(".io"));
  return files.toSorted().map((file) => ({
    name: basename(file, ".io"),
    conversations: parseCorpus(readFileSync(new URL(file, FOLDER), "utf8")),
  }));
}

/**
 * Blocks between empty lines. Several `>>` lines are one message of several lines; `>>hex` gives bytes that are no text;
 * a lone `<<` says that nothing comes back.
 */
export function parseCorpus(text: string): readonly Conversation[] {
  const blocks = text.split(/\n{2,}/).map((block) => block.split("\n").filter((line) => line !== ""));
  return blocks.filter((lines) => lines.some((line) => line.startsWith(">>"))).map(toConversation);
}

function toConversation(lines: readonly string[]): Conversation {
  const title = lines
    .filter((line) => line.startsWith("#"))
    .map((line) => line.slice(1).trim())
    .join(" ");
  const sent = lines.filter((line) => line.startsWith(">>"));
  const answers = lines.filter((line) => line.startsWith("<<"));
  const [answer] = answers;
  if (title === "" || answer === undefined || answers.length > 1 || sent.length + 1 >= lines.length) {
    throw new Error(`Not a conversation with a comment, >> and one <<:\n${lines.join("\n")}`);
  }
  const request = toBytes(sent);
  return answer === "<<" ? { title, request } : { title, request, answer: answer.slice(3) };
}

function toBytes(sent: readonly string[]): Uint8Array {
  const [first = ""] = sent;
  if (first.startsWith(">>hex ")) return Buffer.from(first.slice(6).replaceAll(" ", ""), "hex");
  return Buffer.from(sent.map((line) => line.slice(3)).join("\n"));
}
