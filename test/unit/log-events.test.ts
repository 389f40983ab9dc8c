/** The page of log lines and metrics has each row of the tables in code, and each event of the table is written somewhere. */
import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { describe, expect, test } from "vitest";

import { END_REASONS } from "../../src/jobs/end-reasons.ts";
import { LOG_EVENTS } from "../../src/log-events.ts";
import { METRIC_TABLE, type MetricRow } from "../../src/metric-table.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

function eventRows(): readonly string[] {
  return Object.entries(LOG_EVENTS).flatMap(([by, events]) =>
    Object.entries(events).map(([name, meaning]) => `| \`${name}\` | ${by} | ${meaning} |`),
  );
}

function metricRows(): readonly string[] {
  return Object.values<MetricRow>(METRIC_TABLE).map(({ name, type, labels, help }) =>
    `| \`${name}\` | ${type} | ${labels.join(", ")} | ${help} |`.replaceAll("  ", " "),
  );
}

function reasonRows(): readonly string[] {
  return Object.entries(END_REASONS).map(
    ([state, reasons]) => `| \`${state}\` | ${[...reasons, "other"].join(", ")} |`,
  );
}

/** Rows of the table between two marks, without the spaces that align it. */
async function rowsOf(mark: string): Promise<readonly string[]> {
  const text = await readFile(`${ROOT}/src/README.md`, "utf8");
  const [, table = ""] = new RegExp(`<!-- ${mark}:begin -->\\n([\\s\\S]*?)<!-- ${mark}:end -->`, "u").exec(text) ?? [];
  return table
    .split("\n")
    .map((row) => row.replaceAll(/\s+/gu, " ").trim())
    .filter((row) => row.startsWith("| `"));
}

async function sourceText(): Promise<string> {
  const files = await Promise.all(
    ["src", "bin", "transports"].map(async (folder) => {
      const names = await readdir(`${ROOT}/${folder}`, { recursive: true });
      return names.filter((name) => name.endsWith(".ts")).map((name) => `${ROOT}/${folder}/${name}`);
    }),
  );
  const texts = await Promise.all(files.flat().map(async (file) => readFile(file, "utf8")));
  return texts.join("\n");
}

describe("src/README.md", () => {
  test("has each log event, metric and reason once, as the code has them", async () => {
    expect(await rowsOf("events")).toEqual(eventRows());
    expect(await rowsOf("metrics")).toEqual(metricRows());
    expect(await rowsOf("reasons")).toEqual(reasonRows());
  });
});

describe("The table of log events", () => {
  test("names each event once, and none that is never written", async () => {
    const names = Object.values(LOG_EVENTS).flatMap((events) => Object.keys(events));
    expect(new Set(names).size).toBe(names.length);

    const text = await sourceText();

    expect(names.filter((name) => !text.includes(`event: "${name}"`))).toEqual([]);
  });
});
