import { describe, expect, test } from "vitest";

import { parseRedisUrl } from "../../../src/store/redis-url.ts";

describe("parseRedisUrl()", () => {
  test.each([
    ["redis://localhost", { host: "localhost", port: 6379 }, "redis://localhost"],
    ["redis://localhost:6380/3", { host: "localhost", port: 6380, db: 3 }, "redis://localhost:6380"],
    ["redis://localhost:6380/", { host: "localhost", port: 6380 }, "redis://localhost:6380"],
    ["redis://[::1]:6380", { host: "::1", port: 6380 }, "redis://[::1]:6380"],
    ["redis://:p%40ss@h:1", { username: "default", password: "p@ss", host: "h", port: 1 }, "redis://h:1"],
    ["redis://me:p:w@h", { username: "me", password: "p:w", host: "h", port: 6379 }, "redis://h"],
    ["rediss://me@h", { username: "me", tls: {}, host: "h", port: 6379 }, "rediss://h"],
    ["unix:///run/redis.sock", { path: "/run/redis.sock" }, "/run/redis.sock"],
    ["/run/redis.sock", { path: "/run/redis.sock" }, "/run/redis.sock"],
  ])("reads the single server %s", (url, options, shown) => {
    expect(parseRedisUrl(url)).toEqual({ kind: "single", options, shown });
  });

  test("reads Sentinels with the master's name", () => {
    const sentinels = [
      { host: "a", port: 26_379 },
      { host: "b", port: 6379 },
    ];
    expect(parseRedisUrl("redis+sentinel://:pw@a:26379,b/main")).toEqual({
      kind: "sentinel",
      options: { username: "default", password: "pw", sentinels, name: "main" },
      shown: "redis+sentinel://a:26379,b/main",
    });
    expect(parseRedisUrl("rediss+sentinel://a:26379,b/main")).toMatchObject({
      options: { sentinels, name: "main", tls: {}, sentinelTLS: {}, enableTLSForSentinelMode: true },
    });
  });

  test("reads the nodes of a Cluster", () => {
    expect(parseRedisUrl("rediss+cluster://me:pw@a:1,[::1]:2")).toEqual({
      kind: "cluster",
      nodes: [
        { host: "a", port: 1 },
        { host: "::1", port: 2 },
      ],
      options: { username: "me", password: "pw", tls: {} },
      shown: "rediss+cluster://a:1,[::1]:2",
    });
  });

  test.each([
    "",
    "localhost:6379",
    "http://secret@localhost",
    "redis://",
    "redis://:secret@",
    "redis://a,b",
    "redis://h:port",
    "redis://h:123456",
    "redis://h/db",
    "redis+sentinel://a:26379",
    "redis+proxy://a",
    "unix://relative",
  ])("refuses %j and names the forms, never the URL", (url) => {
    expect(() => parseRedisUrl(url)).toThrow(/^The Redis URL is not one of: redis:\/\/\[user:password@\]host/u);
    expect(() => parseRedisUrl(url)).not.toThrow(/secret/u);
  });
});
