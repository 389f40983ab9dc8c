import { describe, expect, test } from "vitest";

import { jobLine, LogPrinter } from "../../../bin/job-output.ts";
import { JOB_ID, JOB_SUMMARY } from "../../../src/rpc/examples.ts";
import { RecordingTerminal } from "../../support/terminal.ts";

const LINE = "\u{1b}[31mred\u{1b}[0m\tand \u{1b}]0;title\u{7} \u{1b}[2J\u{9b}1A\r";

function printed(colours: boolean): RecordingTerminal {
  const terminal = new RecordingTerminal({ colours: { out: colours, err: colours } });
  const printer = new LogPrinter(terminal, false);
  for (const stream of ["stdout", "stderr"] as const)
    printer.print({ attempt: 1, seq: 1, time_ms: 1, stream, text: LINE });
  return terminal;
}

describe("LogPrinter", () => {
  test("lets a job colour a person's terminal, and do nothing else to it", () => {
    const { stdout, stderr } = printed(true);

    expect(stdout).toBe("\u{1b}[31mred\u{1b}[0m\tand \\u{1b}]0;title\\u{7} \\u{1b}[2J\\u{9b}1A\\u{d}\n");
    expect(stderr).toBe(stdout);
  });

  test("passes on what is piped as it is", () => {
    const { stdout, stderr } = printed(false);

    expect([stdout, stderr]).toEqual([`${LINE}\n`, `${LINE}\n`]);
  });
});

describe("the line of a job", () => {
  test.each([
    [{ state: "completed", code: 0 }, "completed on build-1 exit code 0"],
    [{ state: "failed", code: 3, reason: "exit code 3" }, "failed on build-1 exit code 3"],
    [{ state: "failed", code: -1, reason: "unknown executor x" }, "failed on build-1: unknown executor x"],
    [{ state: "failed", code: 0, reason: "result too large" }, "failed on build-1: result too large"],
    [{ state: "timeout", code: 143 }, "timeout on build-1 exit code 143"],
  ] as const)("tells the exit code where it says something: %o", (members, says) => {
    expect(jobLine({ ...JOB_SUMMARY, ...members })).toBe(`${JOB_ID} ${says}`);
  });
});
