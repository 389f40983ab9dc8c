import { inspect } from "node:util";

import { describe, expect, test } from "vitest";

import { SupervisorError } from "../../../src/errors.ts";
import { DeadlineError, isNoScript, isReached, toUnavailable } from "../../../src/store/redis-errors.ts";

function aReply(message: string): Error {
  const error = new Error(message);
  error.name = "ReplyError";
  return error;
}

const INSIDE = " script: f1d2d2f924e986ac86fdf7b36c94bcdf32beec15, on @user_script:31.";

describe("toUnavailable()", () => {
  test.each([
    ["READONLY You can't write against a read only replica.", "no", "read_only_replica"],
    ["LOADING Redis is loading the dataset in memory", "no", "loading"],
    ["MISCONF Redis is configured to save RDB snapshots, but", "no", "persistence_failed"],
    ["OOM allow-oom flag is not set on the script, can not run it", "no", "out_of_memory"],
    ["NOREPLICAS Not enough good replicas to write.", "no", "too_few_replicas"],
    ["MASTERDOWN Link with MASTER is down", "no", "master_down"],
    ["CLUSTERDOWN Hash slot not served", "no", "cluster_down"],
    ["TRYAGAIN Multiple keys request during rehashing of slot", "no", "slot_moving"],
    ["MOVED 1 127.0.0.1:1", "no", "slot_moving"],
    ["BUSY Redis is busy running a script.", "no", "busy"],
    ["NOPERM this user has no permissions to run the 'evalsha' command", "no", "not_permitted"],
    ["NOAUTH Authentication required.", "no", "not_permitted"],
    ["WRONGPASS invalid username-password pair", "no", "not_permitted"],
    ["WRONGTYPE Operation against a key", "no", "foreign_data"],
    ["NOSCRIPT No matching script.", "no", "script_missing"],
    ["ERR Script attempted to access a non local key in a cluster node" + INSIDE, "no", "slot_moving"],
    ["ERR Error running script: Script killed by user with SCRIPT KILL.", "no", "script_killed"],
    // Raised by a write in the middle: what came before it stands.
    ["WRONGTYPE Operation against a key holding the wrong kind of value" + INSIDE, "unknown", "foreign_data"],
    ["ERR The user executing the script can't access at least one of the keys" + INSIDE, "unknown", "not_permitted"],
    ["ERR ACL failure in script: No permissions to access a key" + INSIDE, "unknown", "not_permitted"],
    ["ERR user_script:3: attempt to index a nil value" + INSIDE, "unknown", "refused"],
  ])("maps the reply %j", (message, applied, reason) => {
    const error = aReply(message);
    expect(toUnavailable(error)).toMatchObject({ name: "unavailable", data: { applied, reason } });
    expect(isReached(error)).toBe(true);
  });

  test.each([
    ["Stream isn't writeable and enableOfflineQueue options is false", "no", "not_connected"],
    ["Cluster isn't ready and enableOfflineQueue options is false", "no", "not_connected"],
    ["Failed to refresh slots cache.", "no", "not_connected"],
    ["connect ECONNREFUSED 127.0.0.1:6379", "no", "not_connected"],
    ["connect ETIMEDOUT", "no", "not_connected"],
    ["Too many Cluster redirections. Last error: x", "no", "slot_moving"],
    ["Command timed out", "unknown", "timeout"],
    ["Socket timeout. Expecting data, but didn't receive any in 6000ms.", "unknown", "timeout"],
    ["Connection is closed.", "unknown", "connection_lost"],
    ["Reached the max retries per request limit (which is 0).", "unknown", "connection_lost"],
    ["read ECONNRESET", "unknown", "connection_lost"],
    ["what nobody has seen before", "unknown", "connection_lost"],
  ])("maps the way's failure %j", (message, applied, reason) => {
    expect(toUnavailable(new Error(message))).toMatchObject({ name: "unavailable", data: { applied, reason } });
    expect(isReached(new Error(message))).toBe(false);
  });

  test("maps our own deadline, and takes a known outcome at its word", () => {
    expect(toUnavailable(new DeadlineError(100)).data).toEqual({ applied: "unknown", reason: "timeout" });
    expect(toUnavailable(aReply("OOM x"), "unknown").data).toEqual({ applied: "unknown", reason: "out_of_memory" });
  });

  test("keeps typed errors as they are", () => {
    const error = new SupervisorError("conflict");
    expect(toUnavailable(error)).toBe(error);
  });

  test("keeps Redis' text for the log, and the command's arguments out of everything", () => {
    const reply = Object.assign(aReply("WRONGTYPE x"), { command: { args: ["a secret payload"] } });
    const error = toUnavailable(reply);
    expect(error.message).toBe("Unavailable");
    expect(inspect(error)).toMatch(/WRONGTYPE x/u);
    expect(inspect(error, { depth: 9 })).not.toMatch(/a secret payload/u);
  });
});

describe("isNoScript()", () => {
  test("tells an empty script cache from other failures", () => {
    expect(isNoScript(toUnavailable(aReply("NOSCRIPT No matching script.")))).toBe(true);
    expect(isNoScript(toUnavailable(aReply("OOM x")))).toBe(false);
    expect(isNoScript(new Error("NOSCRIPT"))).toBe(false);
  });
});
