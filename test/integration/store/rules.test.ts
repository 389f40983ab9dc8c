/**
 * Every test that guards a rule for Redis fails once its rule is taken out of a copy of the checkout. Some are tried;
 * SOAK=1 tries every one, RULES=5,9 all of those rules.
 */
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { copyCheckout } from "../../support/checkout.ts";
import { runProcess } from "../../support/process.ts";
import { soakOrEvery } from "../../support/soak.ts";
import { CLIENT_RULES, type Guarded, RULES } from "./rules.ts";

const ALL = [...RULES, ...CLIENT_RULES];
const WANTED = process.env["RULES"]?.split(",");
const GUARDED = WANTED === undefined ? soakOrEvery(9, ALL) : ALL.filter(({ rule }) => WANTED.includes(String(rule)));

let copy = "";
beforeAll(async () => {
  copy = await copyCheckout();
});
afterAll(async () => {
  await rm(copy, { recursive: true, force: true });
});

/** Titles of tests, of those with the wanted title, that failed by what they expect. */
async function failures({ file, title, without, patienceMs = 60_000 }: Guarded): Promise<readonly string[]> {
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
  const words = [
    "--config",
    join(copy, "test/vitest.config.ts"),
    `test/${file}`,
    "-t",
    pattern,
    "--reporter=json",
    `--testTimeout=${patienceMs}`,
  ];
  try {
    const vitest = join(copy, "node_modules/vitest/vitest.mjs");
    const ran = await runProcess([process.execPath, vitest, "run", ...words, `--outputFile=${report}`], {
      cwd: copy,
      env: { PATH: process.env["PATH"], HOME: process.env["HOME"] },
    });
    const results: unknown = JSON.parse(await readFile(report, "utf8").catch(() => "[]"));
    const found = outcomesIn(results).filter((one) => one.title.startsWith(title) && one.status !== "skipped");
    if (found.length === 0) throw new Error(`There is no test "${title}" in ${file}:\n${ran.stdout}${ran.stderr}`);
    return found.filter(({ status }) => status === "failed").map((one) => one.title);
  } finally {
    for (const [path, text] of originals) await writeFile(path, text);
    await rm(report, { force: true });
  }
}

/** Everything in vitest's report that has a title and a status. */
function outcomesIn(value: unknown): readonly { readonly title: string; readonly status: string }[] {
  if (typeof value !== "object" || value === null) return [];
  const { title, status }: { title?: unknown; status?: unknown } = value;
  const own = typeof title === "string" && typeof status === "string" ? [{ title, status }] : [];
  return [...own, ...Object.values(value).flatMap(outcomesIn)];
}

test("Each of the eleven rules is guarded", () => {
  expect([...new Set(RULES.map(({ rule }) => rule))]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
});

describe("Without its rule", () => {
  test.each(GUARDED.map((guarded) => [guarded.rule, guarded.prevents, guarded.title, guarded] as const))(
    '%i there is %s, and the test "%s" fails',
    { timeout: 240_000 },
    async (_rule, _prevents, _title, guarded) => {
      let failed = await failures(guarded);
      for (let tried = 1; failed.length === 0 && tried < (guarded.tries ?? 1); tried += 1)
        failed = await failures(guarded);

      expect(failed).not.toEqual([]);
    },
  );
});
