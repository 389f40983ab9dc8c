import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, onTestFinished, test } from "vitest";

import { announceNext } from "../../../bin/first-start.ts";
import { buildConfig } from "../../../src/config.ts";
import { RecordingTerminal } from "../../support/terminal.ts";

test("the hint at the next command never fails, also where the file is whole with this environment alone", async () => {
  const directory = await mkdtemp(join(tmpdir(), "horus-first-"));
  onTestFinished(async () => rm(directory, { recursive: true, force: true }));
  const configFile = join(directory, "supervisor.toml");
  const text = '[http]\ntls_cert = "cert.pem"\n';
  await writeFile(configFile, text);
  const config = buildConfig({ file: { path: configFile, text }, env: { SUPERVISOR_HTTP_TLS_KEY: "key.pem" } });
  const terminal = new RecordingTerminal({ env: {} });

  await announceNext(terminal, { config, configFile, url: "https://127.0.0.1:8080" });

  expect(terminal.stderr).toMatch(/^The command line uses the owner key\. Next: supervisor runner start demo/u);
});
