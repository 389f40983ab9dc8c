/** A person at a real terminal stops waiting for a job. */
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";

import { PseudoTerminal } from "../support/pseudo-terminal.ts";
import { startSystem, type System } from "../support/system.ts";

const CTRL_C = "\u0003";
const CTRL_D = "\u0004";
const QUESTION = /Cancel it\? Type yes, or Enter to leave it running: /u;

let system: System;
beforeAll(async () => {
  system = await startSystem();
  await system.startRunner("demo", ["--exec", "bash -s", "--slots", "8"]);
});
afterAll(async () => {
  await system[Symbol.asyncDispose]();
});

interface Sitting {
  readonly screen: PseudoTerminal;
  readonly stateOf: () => Promise<unknown>;
}

/** A job that runs, watched at a terminal by a person who has pressed Ctrl-C once. */
async function interrupted(before: string | undefined, words: readonly string[]): Promise<Sitting> {
  const screen = new PseudoTerminal(["submit", "--runner", "demo", "--follow", ...words], {
    env: { SUPERVISOR_URL: system.url, SUPERVISOR_DATA_DIR: system.dataDirectory },
    ...(before === undefined ? {} : { before }),
  });
  onTestFinished(() => screen.kill());
  await screen.waitFor(/begun/u);
  // States and log lines come on two ways: the line that names the job may be the later one.
  const [id] = await screen.waitFor(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/u);
  screen.type(CTRL_C);
  await screen.waitFor(QUESTION);
  return { screen, stateOf: async () => (await system.json(["job", "get", id]))["state"] };
}

const PAYLOAD = ["--payload", "echo begun; sleep 300"];

describe("Ctrl-C at a terminal", () => {
  test("asks, and a yes cancels the job", async () => {
    const { screen, stateOf } = await interrupted(undefined, PAYLOAD);

    screen.type("yes\r");

    await screen.waitFor(/cancelled on demo/u);
    expect(await screen.ended()).toBe(1);
    expect(await stateOf()).toBe("cancelled");
  });

  test("asks where the payload was piped in as well", async () => {
    const { screen, stateOf } = await interrupted("echo 'echo begun; sleep 300' |", []);

    screen.type("y\r");

    await screen.waitFor(/cancelled on demo/u);
    await screen.ended();
    expect(await stateOf()).toBe("cancelled");
  });

  test.each([
    ["Enter", "\r"],
    ["a second Ctrl-C", CTRL_C],
    ["Ctrl-D", CTRL_D],
  ])("leaves the job running at %s, and says how to cancel it", async (_, key) => {
    const { screen, stateOf } = await interrupted(undefined, PAYLOAD);

    screen.type(key);

    await screen.waitFor(/goes on without us.*supervisor job cancel [0-9a-f-]{36}/u);
    expect(await screen.ended()).toBe(1);
    expect(await stateOf()).toBe("running");
  });

  test("ends the program when it is pressed again while the cancel takes its time", async () => {
    const { screen, stateOf } = await interrupted(undefined, PAYLOAD);
    expect(await stateOf()).toBe("running");
    await system.redis.kill("SIGSTOP");
    screen.type("yes\r");

    const ended = screen.ended();
    // Again and again: keys that follow one another at once are taken for one.
    const keys = setInterval(() => screen.type(CTRL_C), 200);
    onTestFinished(() => clearInterval(keys));

    expect(await ended).toBe(130);
    await system.redis.kill("SIGCONT");
  });
});
