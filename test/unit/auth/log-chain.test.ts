import { createHash } from "node:crypto";

import { describe, expect, test } from "vitest";

import { LogChain, logEntryText } from "../../../src/auth/log-chain.ts";
import type { LogEntry } from "../../../src/rpc/schema.ts";
import { VECTORS } from "../../support/signing.ts";

const line: LogEntry = { attempt: 1, seq: 1, time_ms: 1_790_000_031_100, stream: "stdout", text: "héllo" };

function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  return createHash("sha256").update(Buffer.concat(parts)).digest();
}

describe("LogChain", () => {
  test("gives the vectors' head after each entry", () => {
    const chain = new LogChain();
    const heads = VECTORS.log_chain.entries.map((entry) => {
      chain.append(entry);
      return chain.head;
    });

    expect(heads).toEqual(VECTORS.log_chain.heads);
    expect(chain.count).toBe(VECTORS.log_chain.entries.length);
  });

  test("begins with 32 zero bytes", () => {
    expect(new LogChain()).toMatchObject({ head: "0".repeat(64), count: 0 });
  });

  test("follows the definition with another implementation of SHA-256", () => {
    const chain = new LogChain();
    let head: Uint8Array = Buffer.alloc(32);
    for (let i = 1; i <= 300; i += 1) {
      const entry = `entry ${i}`;
      const index = Buffer.alloc(8);
      index.writeBigUInt64BE(BigInt(i));
      head = sha256(Buffer.from("horus.log.v1\0"), head, index, sha256(Buffer.from(entry)));
      chain.append(entry);
    }

    expect(chain.head).toBe(Buffer.from(head).toString("hex"));
  });

  test("differs when entries change places", () => {
    const [one, other] = [new LogChain(), new LogChain()];
    for (const text of ["a", "b"]) one.append(text);
    for (const text of ["b", "a"]) other.append(text);

    expect(one.head).not.toBe(other.head);
  });
});

describe("logEntryText", () => {
  test("writes the vectors' entries", () => {
    const entries: readonly LogEntry[] = [
      line,
      { attempt: 1, seq: 2, time_ms: 1_790_000_031_150, stream: "stderr", base64: "/w==" },
      { attempt: 1, seq: 3, time_ms: 1_790_000_031_200, stream: "system", text: "exit code 0" },
    ];

    expect(entries.map(logEntryText)).toEqual(VECTORS.log_chain.entries);
  });

  test("leaves out what is no part of the chain", () => {
    expect(logEntryText(Object.assign({ position: 7 }, line))).toBe(VECTORS.log_chain.entries[0]);
  });

  test("refuses an entry that JSON can not carry, naming the member", () => {
    expect(() => logEntryText({ ...line, seq: 4, text: "\ud800" })).toThrow(/entry 4: text: a lone surrogate/);
    expect(() => logEntryText({ attempt: 1, seq: 1, time_ms: 0, stream: "stdout" })).toThrow(/base64/);
  });
});

test("the result of the vectors hashes to the receipt's digest", () => {
  const receipt = VECTORS.valid.find(({ name }) => name === "receipt");
  const digest = createHash("sha256").update(VECTORS.result.bytes_utf8).digest("hex");

  expect(receipt?.body).toContain(`"result":"${digest}"`);
});
