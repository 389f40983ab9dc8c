/** A store on a real Redis, reached only as the users that `supervisor doctor --acl` prints. */
import type { Redis } from "ioredis";
import { expect } from "vitest";

import { freePort } from "../../bin/demo/port.ts";
import { type RedisUser, runnerUser, supervisorUser } from "../../src/store/redis-acl.ts";
import type { RedisStoreOptions } from "../../src/store/redis-store.ts";
import { type TestRedis } from "./redis.ts";
import { aRegistration, type Fixture, startStore } from "./store.ts";

const PASSWORD = "pw";

/** May do everything: shows that an attempt fails for its rules alone. */
export const WIDE: RedisUser = { name: "wide", rules: ["~*", "&*", "+@all"] };

/** Arguments of ACL SETUSER after the command's own words. */
export function loginRules({ name, rules }: RedisUser): readonly string[] {
  return [name, "on", `>${PASSWORD}`, ...rules];
}

export function loginUrl({ name }: RedisUser, port: number, scheme = "redis"): string {
  return `${scheme}://${name}:${PASSWORD}@127.0.0.1:${port}`;
}

export interface Guarded {
  /** Its store is the supervisor's user, its `client` the administrator. */
  readonly fixture: Fixture;
  readonly supervisor: RedisUser;
  /** Of the runner build-1 in the group build. */
  readonly runner: RedisUser;
  readonly urlOf: (user: RedisUser) => string;
  /** A plain client of a user. */
  readonly as: (user: RedisUser) => Promise<Redis>;
}

/** Starts a server with the users of a supervisor and of `build-1`, and a store that knows the first alone. */
export async function startGuarded(wanted: Partial<RedisStoreOptions> = {}): Promise<Guarded> {
  const port = await freePort();
  const scope = { url: `redis://127.0.0.1:${port}`, prefix: "horus" };
  const supervisor = supervisorUser(scope);
  const runner = runnerUser(scope, { name: "build-1", groups: ["build"] });
  const urlOf = (user: RedisUser): string => loginUrl(user, port);
  const settings = [supervisor, runner, WIDE].flatMap((user) => [["--user"], loginRules(user)].flat());
  const fixture = await startStore({ ...wanted, url: urlOf(supervisor) }, { port, settings });
  return { fixture, supervisor, runner, urlOf, as: async (user) => clientOf(fixture.redis, user) };
}

async function clientOf(redis: TestRedis, { name }: RedisUser): Promise<Redis> {
  const client = redis.client();
  await client.auth(name, PASSWORD);
  return client;
}

/** Registers another runner, in another group. */
export async function registerWeb({ store }: Fixture): Promise<{ readonly name: string; readonly key: string }> {
  const other = { name: "web-1", key: `ed25519:${"b".repeat(64)}` };
  expect(await store.runners.register(aRegistration({ ...other, groups: ["web"] }), "{}")).toEqual({ outcome: "new" });
  return other;
}

/** By the server's own log, since it started. */
export async function expectNothingRefused(admin: Redis): Promise<void> {
  expect(await admin.call("ACL", "LOG")).toEqual([]);
}
