import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

import { buildConfig } from "../../src/config.ts";
import { allSettings } from "../../src/settings.ts";
import { limitsOf } from "../../src/supervisor.ts";

const README = fileURLToPath(new URL("../../README.md", import.meta.url));

/** The rows README must have: each limit that `get_info` shows, with its default and its meaning. */
function limitRows(): readonly string[] {
  const limits = limitsOf(buildConfig({ env: {} }));
  return allSettings()
    .filter(
      ({ path }) => (path.split(".").at(-1) ?? "") in limits && !path.startsWith("mycelium") && path !== "http.port",
    )
    .map(({ path, default: value, description }) => `| \`${path}\` | ${String(value)} | ${description} |`);
}

test("README's table of limits has each limit once, with its default", async () => {
  const text = await readFile(README, "utf8");
  const [, table = ""] = /<!-- limits:begin -->\n([\s\S]*?)<!-- limits:end -->/u.exec(text) ?? [];
  const rows = table.split("\n").map((row) => row.replaceAll(/\s+/gu, " ").trim());

  expect(rows.filter((row) => row.startsWith("| `"))).toEqual(limitRows());
});
