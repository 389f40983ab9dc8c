import { describe, expect, test } from "vitest";

import { LogPrinter } from "../../../bin/job-output.ts";
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
