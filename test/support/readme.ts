/** README.md as tests read it: its fenced blocks. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { CHECKOUT } from "./checkout.ts";

export interface Block {
  /** What stands behind the fence: `sh`, `sh service`, `ts`, `toml`, `console`. */
  readonly kind: string;
  readonly text: string;
  readonly line: number;
}

export async function readReadme(): Promise<string> {
  return readFile(join(CHECKOUT, "README.md"), "utf8");
}

export function blocksOf(text: string): readonly Block[] {
  return [...text.matchAll(/^```(\S.*)\n([\s\S]*?)^```$/gmu)].map((match) => ({
    kind: match[1] ?? "",
    text: match[2] ?? "",
    line: text.slice(0, match.index).split("\n").length,
  }));
}
