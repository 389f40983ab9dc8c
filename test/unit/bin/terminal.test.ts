import { describe, expect, onTestFinished, test } from "vitest";

import { clockTime, decode, printData, processTerminal, styled, table, untilStopped } from "../../../bin/terminal.ts";
import { RecordingTerminal } from "../../support/terminal.ts";

describe("styled", () => {
  test("leaves text plain where a stream shows no colours", () => {
    const terminal = new RecordingTerminal({ isInteractive: true, colours: { err: true } });

    expect(styled(terminal, "green", "good", "out")).toBe("good");
    expect(styled(terminal, "green", "good")).toBe("\u001B[32mgood\u001B[39m");
  });
});

describe("printData", () => {
  test("prints one line of JSON for scripts, lines for people", () => {
    const terminal = new RecordingTerminal();

    printData(terminal, { a: [1] }, { isJson: true, lines: () => [] });
    printData(terminal, {}, { isJson: false, lines: () => ["first", "second"] });

    expect(terminal.stdout).toBe('{"a":[1]}\nfirst\nsecond\n');
  });
});

describe("table", () => {
  test("pads columns to their widest cell, and leaves no blanks at the end", () => {
    expect(
      table(
        ["ID", "STATE"],
        [
          ["1", "running"],
          ["long", "x"],
        ],
      ),
    ).toEqual(["ID    STATE", "1     running", "long  x"]);
  });

  test("is its header where there are no rows", () => {
    expect(table(["ID", "STATE"], [])).toEqual(["ID  STATE"]);
  });
});

describe("clockTime", () => {
  test("is a dash for what has not happened", () => {
    expect(clockTime(undefined)).toBe("-");
    expect(clockTime(1_790_000_030_000)).toBe("2026-09-21 14:13:50");
  });
});

describe("decode", () => {
  test("gives text unchanged, a byte order mark included", () => {
    expect(decode(new TextEncoder().encode("\uFEFFé"))).toBe("\uFEFFé");
  });

  test("refuses what is no UTF-8", () => {
    expect(() => decode(Uint8Array.of(0xff))).toThrow("it is not UTF-8; encode it, as base64 for instance");
  });
});

describe("untilStopped", () => {
  test("resolves at the stop, and at once when that was before", async () => {
    const terminal = new RecordingTerminal();
    const waiting = untilStopped(terminal);

    terminal.interrupt();

    await expect(waiting).resolves.toBeUndefined();
    await expect(untilStopped(terminal)).resolves.toBeUndefined();
  });
});

/** Who hears the signals that stop a program. */
function listenersOf(): readonly (readonly ["SIGINT" | "SIGTERM", NodeJS.SignalsListener])[] {
  return (["SIGINT", "SIGTERM"] as const).flatMap((signal) =>
    process.listeners(signal).map((listener) => [signal, listener] as const),
  );
}

describe("the terminal of the process", () => {
  test("stops at the first signal, takes the same signal of a wrapper for one, and hears SIGHUP until told", () => {
    const before = listenersOf();
    const terminal = processTerminal("/nowhere/supervisor.js");
    const added = listenersOf().filter(([, listener]) => !before.some(([, known]) => known === listener));
    onTestFinished(() => {
      for (const [signal, listener] of added) process.off(signal, listener);
    });
    let reloads = 0;
    const stopListening = terminal.onReload(() => (reloads += 1));

    process.emit("SIGHUP", "SIGHUP");
    stopListening();
    const isStoppedBefore = terminal.stop.aborted;
    for (const [signal, listener] of [...added, ...added]) if (signal === "SIGTERM") listener(signal);

    expect(reloads).toBe(1);
    expect(isStoppedBefore).toBe(false);
    expect(terminal.stop.reason).toBe("SIGTERM");
    expect(terminal.program).toEqual([process.execPath, ...process.execArgv, "/nowhere/supervisor.js"]);
    expect(terminal.env).toBe(process.env);
  });
});
