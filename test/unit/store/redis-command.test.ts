import { Command } from "ioredis";
import { describe, expect, test } from "vitest";

import { RedisCommand } from "../../../src/store/redis-command.ts";

describe("RedisCommand", () => {
  test.each([
    ["no arguments", "PING", []],
    ["texts and numbers", "EVALSHA", ["f".repeat(40), 2, "a", "b", 0, -1, 1.5, 281_474_976_710_656]],
    ["an empty text", "SET", ["key", ""]],
    ["line ends, which lengths alone tell from the protocol's own", "SET", ["key", "\r\n$3\r\nfoo\r\n"]],
    ["characters of more than one byte", "SET", ["schlüssel", "日本 🚀"]],
  ] as const)("writes what ioredis' own command writes: %s", (_case, name, args) => {
    const ours = new RedisCommand(name, args);
    const theirs = new Command(name, [...args], { replyEncoding: "utf8" });

    expect(ours.toWritable()).toBe(theirs.toWritable({}));
    expect(ours.args).toEqual(theirs.args);
  });

  test("names its keys, by which a Cluster finds the node", () => {
    expect(new RedisCommand("EVALSHA", ["sha", 2, "{s1}:a", "{s1}:b", "value"]).getKeys()).toEqual([
      "{s1}:a",
      "{s1}:b",
    ]);
  });
});
