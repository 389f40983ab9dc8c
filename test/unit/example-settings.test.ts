import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { describe, expect, test } from "vitest";

import { buildConfig } from "../../src/config.ts";
import { allSettings } from "../../src/settings.ts";

const path = fileURLToPath(new URL("../../mycelium.toml.example", import.meta.url));

describe("mycelium.toml.example", () => {
  test("names every setting with its meaning and its default", async () => {
    const text = await readFile(path, "utf8");

    const missing = allSettings().filter(({ path: setting, default: value, description }) => {
      const name = setting.split(".").at(-1) ?? "";
      return !text.includes(`# ${description}`) || !text.includes(`# ${name} = ${JSON.stringify(value)}`);
    });
    expect(missing.map(({ path: setting }) => setting)).toEqual([]);
  });

  test("is a valid file that says the defaults once it is uncommented", async () => {
    const text = await readFile(path, "utf8");
    const uncommented = text.replaceAll(/^# (\w+ = |\[executor|\[queue)/gmu, "$1");

    const { executor, queue, ...config } = buildConfig({ file: { path, text: uncommented }, env: {} });
    const { executor: _none, queue: _all, ...defaults } = buildConfig({ env: {} });

    expect(config).toEqual(defaults);
    expect(queue).toEqual({ build: { fair: true } });
    expect(executor).toEqual({
      sh: { command: ["bash", "-s"], payload: "stdin", env: ["CI", "BUILD_*"], working_directory: "/srv/ci" },
    });
  });
});
