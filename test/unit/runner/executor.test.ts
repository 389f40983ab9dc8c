import { describe, expect, test } from "vitest";

import { createExecutor, parseExec, pickExecutor, splitWords } from "../../../src/runner/executor.ts";
import { type HostEnvironment, jobEnvironment } from "../../../src/runner/job-environment.ts";
import { aJob } from "../../support/builders.ts";

describe("splitWords", () => {
  test.each([
    { text: "bash -s", words: ["bash", "-s"] },
    { text: "  bash\t-s\n", words: ["bash", "-s"] },
    { text: "sh -c 'echo \"$1\" | cat'", words: ["sh", "-c", 'echo "$1" | cat'] },
    { text: 'a "b c" d', words: ["a", "b c", "d"] },
    { text: 'x="b c"y', words: ["x=b cy"] },
    { text: String.raw`a\ b "c\"d\\e\f"`, words: ["a b", String.raw`c"d\e\f`] },
    { text: "'' \"\"", words: ["", ""] },
    { text: "$HOME *.txt ; rm", words: ["$HOME", "*.txt", ";", "rm"] },
    { text: "", words: [] },
  ])("$text", ({ text, words }) => {
    expect(splitWords(text)).toEqual(words);
  });

  test.each(["'open", 'a "open', "a\\"])("%s is refused with the fix", (text) => {
    expect(() => splitWords(text)).toThrow("Close it");
  });
});

describe("parseExec", () => {
  test("is an executor named default, payload on stdin, with every environment name but the guarded ones", () => {
    expect(parseExec("bash -s")).toEqual({ name: "default", command: ["bash", "-s"], payload: "stdin", env: ["*"] });
  });

  test.each(["", " ", "''"])('"%s" names no program', (text) => {
    expect(() => parseExec(text)).toThrow(/names no program|empty command/);
  });
});

describe("createExecutor", () => {
  test("takes what the table says", () => {
    const table = { command: ["make"], payload: "file" as const, env: ["CI"], working_directory: "/src" };

    expect(createExecutor("make", table)).toEqual({
      name: "make",
      command: ["make"],
      payload: "file",
      env: ["CI"],
      workingDirectory: "/src",
    });
  });

  test("lets no environment through unless the table says so", () => {
    expect(createExecutor("sh", { command: ["sh"] }).env).toEqual([]);
  });

  test("refuses an empty command and says which executor", () => {
    expect(() => createExecutor("sh", { command: [] })).toThrow("[executor.sh]");
  });
});

describe("pickExecutor", () => {
  const sh = createExecutor("sh", { command: ["sh"] });
  const other = createExecutor("default", { command: ["cat"] });

  test("picks by name", () => {
    expect(pickExecutor(new Map([["sh", sh]]), "sh")).toEqual({ ok: true, executor: sh });
  });

  test("picks the only one for a job that names none", () => {
    expect(pickExecutor(new Map([["sh", sh]]), undefined)).toEqual({ ok: true, executor: sh });
  });

  test("picks the one named default among several", () => {
    const several = new Map([
      ["sh", sh],
      ["default", other],
    ]);

    expect(pickExecutor(several, undefined)).toEqual({ ok: true, executor: other });
  });

  test("refuses a job that names none where there are several and none is the default", () => {
    const several = new Map([
      ["sh", sh],
      ["cat", other],
    ]);

    expect(pickExecutor(several, undefined)).toEqual({
      ok: false,
      reason: "the job names no executor and the runner has several: cat, sh",
    });
  });

  test("never falls back to another one", () => {
    expect(pickExecutor(new Map([["sh", sh]]), "bash")).toEqual({
      ok: false,
      reason: 'unknown executor "bash"; the runner has: sh',
    });
  });
});

function environment(
  env: readonly string[],
  vars: Readonly<Record<string, string>>,
  host: HostEnvironment = {},
): ReturnType<typeof jobEnvironment> {
  return jobEnvironment({
    job: aJob({ env_vars: vars }),
    attempt: 3,
    executor: createExecutor("sh", { command: ["sh"], env: [...env] }),
    host,
    resultPath: "/scratch/result",
  });
}

describe("jobEnvironment", () => {
  test.each([
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "PATH",
    "BASH_ENV",
    "ENV",
    "IFS",
    "NODE_OPTIONS",
    "PYTHONPATH",
    "PYTHON",
    "HORUS_JOB_ID",
    "HORUS_X",
  ])("%s passes only when listed literally", (name) => {
    expect(environment(["*"], { [name]: "x" }).ok).toBe(false);
    expect(environment([`${name.slice(0, 2)}*`], { [name]: "x" }).ok).toBe(false);
    expect(environment([name], { [name]: "x" }).ok).toBe(true);
  });

  test.each(["LDFLAGS", "XPATH", "ENVIRONMENT", "NODE_ENV", "MY_PYTHON", "path", "IFSX"])(
    "%s is not guarded",
    (name) => {
      expect(environment(["*"], { [name]: "x" }).ok).toBe(true);
    },
  );

  test("a pattern is a name or a prefix, and nothing passes without one", () => {
    expect(environment(["APP_*", "CI"], { APP_X: "1", CI: "2" }).ok).toBe(true);
    expect(environment(["APP_*", "CI"], { CIX: "1", XAPP_: "2", APP: "3" })).toEqual({
      ok: false,
      reason: 'executor "sh" does not let the environment through: APP, CIX, XAPP_',
    });
    expect(environment([], { A: "1" }).ok).toBe(false);
  });

  test("a refusal names no value", () => {
    expect(JSON.stringify(environment([], { TOKEN: "hunter2" }))).not.toContain("hunter2");
  });

  test("what the runner sets wins over the job, and the job over the host", () => {
    const result = environment(
      ["*", "HORUS_ATTEMPT", "PATH"],
      { HORUS_ATTEMPT: "9", PATH: "/job", HOME: "/job" },
      {
        PATH: "/host",
        HOME: "/host",
        LANG: "de_DE.UTF-8",
      },
    );

    expect(result).toEqual({
      ok: true,
      env: {
        PATH: "/job",
        HOME: "/job",
        LANG: "de_DE.UTF-8",
        HORUS_JOB_ID: aJob().id,
        HORUS_ATTEMPT: "3",
        HORUS_RESULT: "/scratch/result",
      },
    });
  });

  test("a plain PATH and LANG stand in for a host that has none", () => {
    const result = environment([], {});

    expect(result.ok && [result.env["PATH"]?.split(":").includes("/usr/bin"), result.env["LANG"]]).toEqual([
      true,
      "C.UTF-8",
    ]);
  });
});
