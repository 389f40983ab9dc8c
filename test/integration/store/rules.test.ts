/**
 * Every test that guards a rule for Redis fails once its rule is taken out of a copy of the checkout. RULES=5,9 looks at
 * those rules alone.
 */
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { copyCheckout } from "../../support/checkout.ts";
import { runProcess } from "../../support/process.ts";
import { CLIENT_RULES, type Guarded, RULES } from "./rules.ts";

const WANTED = (process.env["RULES"] ?? "").split(",").filter(Boolean).map(Number);
const GUARDED = [...RULES, ...CLIENT_RULES].filter(({ rule }) => WANTED.length === 0 || WANTED.includes(rule));

let copy = "";
beforeAll(async () => {
  copy = await copyCheckout();
});
afterAll(async () => {
  await rm(copy, { recursive: true, force: true });
});

/** Titles of tests, of those with the wanted title, that failed by what they expect. */
async function failures({ file, title, without }: Guarded): Promise<readonly string[]> {
  const originals = new Map<string, string>();
  for (const { file: changed, what, by } of without) {
    const path = join(copy, changed);
    const text = await readFile(path, "utf8");
    if (!text.includes(what)) throw new Error(`${changed} has changed: say anew what taking its rule out means.`);
    if (!originals.has(path)) originals.set(path, text);
    await writeFile(path, text.replace(what, by));
  }
  const report = join(copy, "report.json");
  const pattern = title.replaceAll(/[^\w ]/gu, ".");
  const words = ["--config", join(copy, "test/vitest.config.ts"), `test/${file}`, "-t", pattern, "--reporter=json"];
  try {
    const vitest = join(copy, "node_modules/vitest/vitest.mjs");
    const ran = await runProcess([process.execPath, vitest, "run", ...words, `--outputFile=${report}`], {
      cwd: copy,
      env: { PATH: process.env["PATH"], HOME: process.env["HOME"] },
    });
    const results: Report = JSON.parse(await readFile(report, "utf8").catch(() => `{"testResults":[]}`));
    const tests = results.testResults.flatMap(({ assertionResults }) => assertionResults);
    const found = tests.filter((one) => one.title.startsWith(title) && one.status !== "skipped");
    if (found.length === 0) throw new Error(`There is no test "${title}" in ${file}:\n${ran.stdout}${ran.stderr}`);
    return found.filter(({ status }) => status === "failed").map((one) => one.title);
  } finally {
    for (const [path, text] of originals) await writeFile(path, text);
    await rm(report, { force: true });
  }
}

interface Report {
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly title: string; readonly status: string }[];
  }[];
}

test("Each of the eleven rules is guarded", () => {
  expect([...new Set(RULES.map(({ rule }) => rule))]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
});

describe("Without its rule", () => {
  test.each(GUARDED.map((guarded) => [guarded.rule, guarded.prevents, guarded.title, guarded] as const))(
    '%i there is %s, and the test "%s" fails',
    { timeout: 240_000 },
    async (_rule, _prevents, _title, guarded) => {
      expect(await failures(guarded)).not.toEqual([]);
    },
  );
});
