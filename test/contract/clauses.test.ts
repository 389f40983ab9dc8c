/** The page of clauses leads to tests that are there. */
import { readFile } from "node:fs/promises";

import { expect, test } from "vitest";

const PAGE = await readFile(new URL("README.md", import.meta.url), "utf8");
const ROWS = [...PAGE.matchAll(/^\| (.+?) +\| `(.+?)` +\| (.+?) +\|$/gmu)].map(
  ([, clause = "", file = "", words = ""]) => ({
    clause,
    file,
    words,
  }),
);

test("the page has a row for each clause, once", () => {
  expect(ROWS.length).toBeGreaterThan(40);
  expect(PAGE.match(/^\|/gmu)).toHaveLength(ROWS.length + 2);
  expect(new Set(ROWS.map(({ clause }) => clause)).size).toBe(ROWS.length);
});

test.each(ROWS)("$clause: shown in $file", async ({ file, words }) => {
  expect(await readFile(new URL(`../${file}`, import.meta.url), "utf8")).toContain(words);
});
