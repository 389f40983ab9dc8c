import { describe, expect, test } from "vitest";

import { Flags } from "../../../bin/command.ts";
import { COMMANDS } from "../../../bin/commands.ts";
import {
  explainJobRefusal,
  explainLostSight,
  explainUnclearJob,
  hintOf,
  RefusedError,
  refusalText,
} from "../../../bin/hints.ts";
import { RpcError } from "../../../src/client/rpc-error.ts";
import { CarrierError, ERRORS } from "../../../src/errors.ts";

function refusal(code: number, data?: unknown): RpcError {
  return new RpcError(code, "Refused", data);
}

/** A word of each hint that says what to do. */
const SAYS: Readonly<Record<keyof typeof ERRORS, RegExp>> = {
  parse: /one version\?.*supervisor --version/u,
  invalidRequest: /one version\?.*supervisor --version/u,
  methodNotFound: /one version\?.*supervisor --version/u,
  invalidParams: /Mend the value that is named/u,
  internal: /log says more, under the request id/u,
  unauthenticated: /keys\.toml.*--key names another/u,
  stale: /Set the clocks/u,
  forbidden: /supervisor whoami;.*supervisor runner list/u,
  notFound: /supervisor job list/u,
  replay: /may have been carried out/u,
  wrongAudience: /known_supervisors/u,
  conflict: /Leave out --id/u,
  wrongState: /supervisor job get ID/u,
  tooLarge: /Send less/u,
  tooMany: /where a time is named/u,
  unavailable: /supervisor doctor.*safe for everything but a new job/u,
};

describe("the hint of a refusal", () => {
  test.each(Object.entries(SAYS))("of %s says what to do", (name, says) => {
    const { code } = new Map(Object.entries(ERRORS)).get(name) ?? { code: 0 };
    const refused = refusal(code, { limit: "x" });
    const text = refusalText(refused, { hint: hintOf(refused) });

    expect(text).toMatch(new RegExp(`^the supervisor answered ${code}: Refused \\(x\\)\\. [A-Z]`, "u"));
    expect(text).toMatch(says);
    expect(text).toMatch(/[.?]$/u);
  });

  test("is there for every error, and names no command that does not exist", () => {
    expect(Object.keys(SAYS).toSorted()).toEqual(Object.keys(ERRORS).toSorted());
    const names = new Set(COMMANDS.map(({ name }) => name));
    const commands = ["", "job", "runner", "whoami"];
    const texts = Object.values(ERRORS).flatMap(({ code }) =>
      commands.map((command) => `${hintOf(refusal(code), command)}`),
    );
    const named = texts
      .join(" ")
      .matchAll(/supervisor ((?:job|runner|whoami|doctor|submit|cosign|keys)(?: [a-z]+)?)/gu);
    const unknown = [...named].flatMap(([, words = ""]) =>
      names.has(words) || names.has(words.split(" ", 1)[0] ?? "") ? [] : [words],
    );
    expect(unknown).toEqual([]);
  });

  test("of a runner that is not found leads to runners, of a job to jobs", () => {
    const missing = refusal(ERRORS.notFound.code);

    expect(hintOf(missing, "runner")).toBe("Runners that this key may see: supervisor runner list.");
    expect(hintOf(missing, "job")).toBe("Jobs that this key may see: supervisor job list.");
  });

  test("of a forbidden whoami does not lead to whoami", () => {
    const hint = hintOf(refusal(ERRORS.forbidden.code), "whoami");

    expect(hint).toMatch(/enrolled.*no role.*keys\.toml/u);
    expect(hint).not.toContain("supervisor whoami");
  });

  test("of a supervisor whose Redis is away says whether the same command again is safe", () => {
    const { code } = ERRORS.unavailable;

    expect(hintOf(refusal(code, { applied: "no" }))).toMatch(/Nothing was done: give the same command again\.$/u);
    expect(hintOf(refusal(code, { applied: "unknown" }))).toMatch(/look first whether it arrived/u);
  });

  test("of a job in the wrong state names the cancel that comes first", () => {
    expect(hintOf(refusal(ERRORS.wrongState.code), "job")).toContain("cancelled first: supervisor job cancel ID.");
  });

  test("of a call that a command signed does not tell how to sign", () => {
    const { code, data } = ERRORS.unauthenticated;
    const refused = refusal(code, data);

    expect(refusalText(refused, { hint: hintOf(refused) })).toMatch(
      /Refused\. Is this key in the supervisor's keys\.toml/u,
    );
    expect(refusalText(refused, { hint: hintOf(refused), isJson: true })).toContain(
      '{"fix":"Sign with an enrolled key: ',
    );
  });

  test("is left out for a code of another supervisor", () => {
    expect(hintOf(refusal(-32_999))).toBeUndefined();
    expect(refusalText(refusal(-32_999), {})).toBe("the supervisor answered -32999: Refused");
  });
});

describe("a job that was refused", () => {
  test("as forbidden is explained by both reasons, which nobody tells apart", () => {
    const shown = explainJobRefusal(refusal(ERRORS.forbidden.code), "build");

    expect(shown).toBeInstanceOf(RefusedError);
    expect(String(shown)).toMatch(/no runner or group "build" is registered.*or this key may not send to it/u);
  });

  test("for missing approvals is told how to get them", () => {
    const shown = explainJobRefusal(refusal(ERRORS.forbidden.code, { approvals_missing: 1 }), "build");

    expect(String(shown)).toMatch(/submit --sign-only --out FILE.*cosign FILE.*submit --signed FILE/u);
  });

  test("otherwise stays as it is", () => {
    const error = refusal(ERRORS.stale.code);

    expect(explainJobRefusal(error, "build")).toBe(error);
  });
});

describe("A job of which nobody knows whether it arrived", () => {
  const unclear = [
    refusal(ERRORS.unavailable.code, { applied: "unknown" }),
    new CarrierError("the connection was cut", "unknown"),
  ];

  test.each(unclear)("is named, to be looked for and to be sent again as the same one: %s", (error) => {
    const shown = String(explainUnclearJob(error, "the-id", new Flags({ to: "http://h:1" })));

    expect(shown).toContain("supervisor job get the-id --to http://h:1;");
    expect(shown).toContain("the same command again with --id the-id:");
  });

  test("is sent again by the same command where that names it already", () => {
    for (const flags of [{ id: "the-id" }, { signed: "file" }]) {
      expect(String(explainUnclearJob(unclear[0], "the-id", new Flags(flags)))).toContain(
        "command again: it is the same",
      );
    }
  });

  test.each([refusal(ERRORS.unavailable.code, { applied: "no" }), new CarrierError("down", "no"), new Error("else")])(
    "is not what is meant by %s",
    (error) => {
      expect(explainUnclearJob(error, "the-id", new Flags({}))).toBe(error);
    },
  );
});

describe("A job that was taken, asked after in vain", () => {
  test("is not to be submitted again, whatever was not done", () => {
    const explained = explainLostSight(refusal(ERRORS.unavailable.code, { applied: "no" }), "the-id", new Flags({}));

    expect(explained).toBeInstanceOf(RefusedError);
    expect(String(explained)).toMatch(/was taken before and goes on: supervisor job wait the-id/u);
    expect(String(explained)).not.toMatch(/again/u);
  });

  test("leaves other errors as they are", () => {
    const refused = refusal(ERRORS.notFound.code);
    expect(explainLostSight(refused, "the-id", new Flags({}))).toBe(refused);
  });
});
