import { describe, expect, test } from "vitest";

import { Presence } from "../../../src/runners/presence.ts";

/** A presence over answers given in turn, with the questions it asked. */
function aPresence(...answers: readonly (boolean | Error)[]) {
  const asked: string[] = [];
  const clock = { ms: 1_000_000 };
  const presence = new Presence({
    keepMs: 250,
    now: () => clock.ms,
    isServed: async (name) => {
      asked.push(name);
      const answer = answers[asked.length - 1] ?? false;
      if (answer instanceof Error) throw answer;
      return answer;
    },
  });
  return { presence, asked, clock };
}

describe("Presence", () => {
  test("asks once for all who want to know at one time", async () => {
    const { presence, asked } = aPresence(true);

    const answers = await Promise.all([presence.isServed("build"), presence.isServed("build")]);

    expect(answers).toEqual([true, true]);
    expect(asked).toEqual(["build"]);
  });

  test("asks for each name", async () => {
    const { presence, asked } = aPresence(true, false);

    expect([await presence.isServed("build"), await presence.isServed("gpu")]).toEqual([true, false]);
    expect(asked).toEqual(["build", "gpu"]);
  });

  test("gives an answer again until it is too old", async () => {
    const { presence, clock } = aPresence(false, true);
    await presence.isServed("build");

    clock.ms += 249;
    const young = await presence.isServed("build");
    clock.ms += 1;
    const old = await presence.isServed("build");

    expect([young, old]).toEqual([false, true]);
  });

  test("asks again when the clock was set back", async () => {
    const { presence, clock } = aPresence(false, true);
    await presence.isServed("build");

    clock.ms -= 3_600_000;

    await expect(presence.isServed("build")).resolves.toBe(true);
  });

  test("remembers no failure", async () => {
    const { presence } = aPresence(new Error("Redis is away"), true);

    await expect(presence.isServed("build")).rejects.toThrow("Redis is away");
    await expect(presence.isServed("build")).resolves.toBe(true);
  });

  test("remembers a bounded number of names", async () => {
    const { presence, asked } = aPresence();
    for (let index = 0; index <= 1000; index += 1) await presence.isServed(`runner-${index}`);

    await presence.isServed("runner-0");
    await presence.isServed("runner-1000");

    expect(asked).toHaveLength(1002);
  });
});
