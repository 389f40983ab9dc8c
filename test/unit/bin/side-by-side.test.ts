import { expect, test } from "vitest";

import { sideBySide } from "../../../bin/side-by-side.ts";
import { untilStopped } from "../../../bin/terminal.ts";

const NEVER = new AbortController().signal;

async function untilAborted(stop: AbortSignal): Promise<void> {
  await untilStopped({ stop });
}

test("parts side by side all come to their ends", async () => {
  const ended: string[] = [];
  const part = (name: string) => async (): Promise<void> => void ended.push(name);

  await sideBySide(NEVER, [part("states"), part("lines")]);

  expect(ended).toEqual(["states", "lines"]);
});

test("a part that fails stops the others, and is told of when they have ended", async () => {
  let hasEnded = false;
  const goesOn = async (stop: AbortSignal): Promise<void> => {
    await untilStopped({ stop });
    hasEnded = true;
  };

  await expect(sideBySide(NEVER, [goesOn, async () => Promise.reject(new Error("broken"))])).rejects.toThrow("broken");
  expect(hasEnded).toBe(true);
});

test("a stop reaches every part", async () => {
  const person = new AbortController();
  const all = sideBySide(person.signal, [untilAborted, untilAborted]);

  person.abort("SIGINT");

  await expect(all).resolves.toBeUndefined();
});
