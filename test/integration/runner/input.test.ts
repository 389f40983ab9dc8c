/** What a job's process is given: payload, environment, directory, argv. */
import { afterEach, describe, expect, test } from "vitest";

import { createExecutor } from "../../../src/runner/executor.ts";
import { harnessSlot } from "../../support/runner-harness.ts";

const { start, stop } = harnessSlot();

afterEach(async () => stop());

describe("Input", () => {
  test("a payload that is not read harms nothing", async () => {
    const { run } = await start({ executors: [createExecutor("sh", { command: ["true"] })] });

    const job = await run({ payload: "x".repeat(250_000) });

    expect(job.state).toBe("completed");
  });

  test("a huge payload arrives whole", async () => {
    const { run, source } = await start({
      executors: [createExecutor("sh", { command: ["sha256sum", "/dev/stdin"] })],
    });

    const job = await run({ payload: "é".repeat(130_000) });

    expect(source.text(job.queued.id)).toBe(
      "c267acc7cc0920fb171c205c2d74b09cfdbf591f540ff228be8294ea9f61784c  /dev/stdin",
    );
  });

  test("a payload goes into a file of its own where the executor wants one, with nothing on standard input", async () => {
    const executor = createExecutor("sh", {
      command: ["bash", "-c", 'stat -c %a "$0"; cat "$0"; echo "[$(cat)]"'],
      payload: "file",
    });
    const { run, source } = await start({ executors: [executor] });

    const job = await run({ payload: "in a file" });

    expect(source.text(job.queued.id)).toBe("600\nin a file[]");
  });

  test("the process sees nothing of the host's environment but the minimum, and what the job may set", async () => {
    const { run, source } = await start({ host: { PATH: "/usr/bin:/bin", HOME: "/home/runner" } });

    const job = await run({
      payload: "env | sort",
      env_vars: { APP_MODE: "fast", LANG: "de_DE.UTF-8" },
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    });

    const seen = source.text(job.queued.id).split("\n");
    const own = seen.filter((line) => !/^(?:PWD|SHLVL|_|OLDPWD)=/.test(line));
    expect(own.map((line) => line.replace(/=.*\/scratch\/horus-job-\w+\//, "=…/"))).toEqual([
      "APP_MODE=fast",
      "HOME=/home/runner",
      "HORUS_ATTEMPT=1",
      `HORUS_JOB_ID=${job.queued.id}`,
      "HORUS_RESULT=…/result",
      "LANG=de_DE.UTF-8",
      "PATH=/usr/bin:/bin",
      "TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ]);
  });

  test("the working directory is fresh and empty, or the executor's own", async () => {
    const own = createExecutor("own", { command: ["bash", "-s"], working_directory: "/usr" });
    const fresh = createExecutor("fresh", { command: ["bash", "-s"] });
    const { run, source } = await start({ executors: [own, fresh] });

    const first = await run({ payload: "pwd; ls -A", executor: "fresh" });
    const second = await run({ payload: "pwd", executor: "own" });

    expect(source.text(first.queued.id)).toMatch(/horus-job-\w+\/work$/);
    expect(source.text(second.queued.id)).toBe("/usr");
  });

  test("nothing of the job's stands in argv", async () => {
    const { run, source } = await start();

    const job = await run({ payload: 'tr "\\0" " " < /proc/$$/cmdline' });

    expect(source.text(job.queued.id)).toBe("bash -s ");
  });
});
