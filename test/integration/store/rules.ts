/**
 * The rules for Redis (each comes from a defect seen in another queue): what each prevents, the test that shows it, and how
 * it is taken out of a build. `rules.test.ts` sees every one of these tests fail without its rule.
 */

interface Change {
  /** Below the checkout. */
  readonly file: string;
  readonly what: string;
  readonly by: string;
}

export interface Guarded {
  readonly rule: number;
  /** What happens without it. */
  readonly prevents: string;
  /** File below test/, and the test's title (or its beginning) as vitest matches it. */
  readonly file: string;
  readonly title: string;
  /** How the rule is taken out. */
  readonly without: readonly Change[];
  /** How often it may be played until it fails once. Default: 1. */
  readonly tries?: number;
  /** For a test that fails by waiting in vain, in ms. */
  readonly patienceMs?: number;
}

const lua = (script: string, what: string, by: string): Change => ({ file: `src/store/lua/${script}.lua`, what, by });
const source = (file: string, what: string, by: string): Change => ({ file: `src/${file}.ts`, what, by });

export const RULES: readonly Guarded[] = [
  {
    rule: 1,
    prevents: "ids that are looked for in the wrong shard after a change of the setting",
    file: "integration/store/data.test.ts",
    title: "keep the shard count of their first start",
    without: [lua("meta", "or (ARGV[2] ~= '' and shards ~= ARGV[2])", "")],
  },
  {
    rule: 1,
    prevents: "a script that stops half-way on a slot that moves",
    file: "integration/store/cluster.test.ts",
    title: "a slot that moves refuses calls whole, and loses nothing",
    // Where the keys lie is Redis' choice: not every order shows it.
    tries: 5,
    without: [lua("lib/10-shard", "return redis.call('EXISTS', unpack(keys))", "return 0")],
  },
  {
    rule: 1,
    prevents: "a call by a revoked key that passes another shard",
    file: "integration/store/replay.test.ts",
    title: "is refused by every call as soon as the revocation has answered",
    without: [
      source(
        "store/redis-revocations",
        "keys.allShards.map(async (shard) => scripts",
        "[].map(async (shard) => scripts",
      ),
    ],
  },
  {
    rule: 2,
    prevents: "jobs that a claim took and nobody heard of",
    file: "integration/store/claim.test.ts",
    title: "gives the same jobs for the same token, and others for another",
    without: [lua("claim", "local before = redis.call('GET', KEYS[2])", "local before = nil")],
  },
  {
    rule: 2,
    prevents: "an outcome that is refused because its answer was lost",
    file: "integration/store/fencing.test.ts",
    title: "ends with one accepted outcome, and the same finish again gives the same answer",
    without: [lua("finish", "job.settled == mark and", "false and")],
  },
  {
    rule: 2,
    prevents: "a client's clock that lets an expired job in",
    file: "integration/store/admission.test.ts",
    title: "judges the times by the server's clock",
    without: [lua("admit", "or NOW > expires_at or", "or")],
  },
  {
    rule: 3,
    prevents: "a job that runs twice because it was sent twice",
    file: "integration/store/admission.test.ts",
    title: "lets exactly one of many simultaneous admissions of an id be new",
    without: [lua("admit", "redis.call('EXISTS', KEYS[1], KEYS[2]) > 0", "false")],
  },
  {
    rule: 3,
    prevents: "a deleted job that is admitted again while its signature is good",
    file: "integration/store/delete.test.ts",
    title: "succeeds again for the owner, and is missing for everybody else",
    without: [lua("lib/20-job", "if life_ms > 0 then", "if false then")],
  },
  {
    rule: 4,
    prevents: "a running job that nobody will ever miss",
    file: "integration/store/losses.test.ts",
    title: "puts the job back after the lease and no earlier",
    without: [lua("claim", "redis.call('ZADD', KEYS[1], int(NOW_MS + lease_ms), job.id)", "")],
  },
  {
    rule: 5,
    prevents: "two accepted outcomes, one of them of a runner that froze and came back",
    file: "integration/store/fencing.test.ts",
    title: "refuses every late write of a runner that froze past it",
    without: [lua("lib/20-job", "and job.attempt == attempt and job.token == token", "")],
  },
  {
    rule: 5,
    prevents: "a lease that ends before it was reaped",
    file: "integration/store/fencing.test.ts",
    title: "is prolonged by its holder alone",
    without: [lua("renew", "and held[2] == ARGV[at + 1] and held[3] == ARGV[at + 2]", "")],
  },
  {
    rule: 6,
    prevents: "a job that kills one runner after the other",
    file: "integration/store/losses.test.ts",
    title: "ends the job as poison when it is the third, while others go on",
    without: [lua("reap", "elseif losses >= 3 then", "elseif false then")],
  },
  {
    rule: 6,
    prevents: "a drain that counts as a loss",
    file: "integration/store/fencing.test.ts",
    title: "can be given back: the job waits in its place, neither lost nor failed",
    without: [
      lua(
        "release",
        "return_to_pending(job, nil, { 'settled', mark })",
        "return_to_pending(job, nil, { 'settled', mark, 'losses', int(tonumber(job.losses) + 1) })",
      ),
    ],
  },
  {
    rule: 7,
    prevents: "a job that waits for ever because a hint was lost",
    file: "integration/runner/runner.test.ts",
    title: "claims what was queued without a hint at the next poll",
    patienceMs: 20_000,
    without: [source("runner/claim-loop", "this.#wake.wait(pollMs * (0.75 + random() / 2))", "this.#wake.wait()")],
  },
  {
    rule: 8,
    prevents: "all jobs running again after Redis was restarted",
    file: "integration/store/reap-hold.test.ts",
    title: "after Redis was restarted",
    without: [lua("reap", "if hold[1] ~= run_id then", "if false then")],
  },
  {
    rule: 8,
    prevents: "all jobs running again after the clock jumped",
    file: "integration/store/reap-hold.test.ts",
    title: "after the server's clock went forward",
    without: [lua("reap", "elseif (has_jumped or ARGV[5] == '1') and", "elseif ARGV[5] == '1' and")],
  },
  {
    rule: 8,
    prevents: "all jobs running again after an outage",
    file: "integration/store/reap-hold.test.ts",
    title: "after Redis was out of reach for more than a third of a lease",
    without: [lua("reap", "elseif (has_jumped or ARGV[5] == '1') and", "elseif has_jumped and")],
  },
  {
    rule: 8,
    prevents: "jobs that stick for as long as a clock was put back",
    file: "integration/store/reap-hold.test.ts",
    title: "is cut to one lease, so that nothing sticks",
    without: [lua("reap", "for _, id in ipairs(too_long) do", "for _, id in ipairs({}) do")],
  },
  {
    rule: 9,
    prevents: "a queue without bound",
    file: "integration/store/admission.test.ts",
    title: "refuse the job that is one too many, and take one again when another left",
    without: [lua("admit", "if waiting >= tonumber(ARGV[8]) then", "if false then")],
  },
  {
    rule: 9,
    prevents: "ended jobs that fill the memory",
    file: "integration/store/delete.test.ts",
    title: "deletes the oldest ended jobs until a shard's share is kept, and no other",
    without: [lua("retire", "local excess = ", "local excess = -1 or ")],
  },
  {
    rule: 9,
    prevents: "logs of deleted jobs that nobody ever finds",
    file: "integration/store/delete.test.ts",
    title: "leaves a tombstone and nothing else",
    without: [lua("lib/20-job", "redis.call('UNLINK', BASE .. 'log:' .. job.id)", "")],
  },
  {
    rule: 9,
    prevents: "a full memory that can not be emptied",
    file: "integration/store/faults.test.ts",
    title: "new jobs are refused whole, and everything that ends work or frees memory goes on",
    without: [lua("finish", "#!lua flags=allow-oom", "#!lua")],
  },
  {
    rule: 10,
    prevents: "a Redis that evicts jobs",
    file: "integration/store/data.test.ts",
    title: "refuses the start with the fix in one line",
    without: [source("store/server-facts", 'if (policy !== "noeviction")', "if (false)")],
  },
  {
    rule: 10,
    prevents: "an emptied Redis that looks like one where nothing was ever sent",
    file: "integration/store/data.test.ts",
    title: "is noticed at once when it comes back empty, and gets back what the supervisor knows",
    without: [
      source(
        "store/redis-store",
        "const isEmptied = claimed.generation !== before.generation;",
        "const isEmptied = false;",
      ),
    ],
  },
  {
    rule: 11,
    prevents: "a durability that nobody gives",
    file: "integration/store/data.test.ts",
    title: "that is more than the server gives refuses the start",
    without: [source("store/server-facts", "if (verdict.isFlushUnknown || ", "if (true || ")],
  },
  {
    rule: 11,
    prevents: "an acknowledgement that no replica has",
    file: "integration/store/replicas.test.ts",
    title: "acknowledges what the replica has, also a duplicate, and nothing else",
    without: [source("store/redis-admission", "acknowledged < replicas", "acknowledged < 0")],
  },
];

/** What stands behind the rules: how the client is set up. */
export const CLIENT_RULES: readonly Guarded[] = [
  {
    rule: 12,
    prevents: "a command that the client sends again by itself",
    file: "integration/store/faults.test.ts",
    title: "the outcome is unknown, the call is not repeated, and asking again tells",
    without: [
      source("store/redis-connection", "maxRetriesPerRequest: 0,", "maxRetriesPerRequest: 20,"),
      source("store/redis-connection", "autoResendUnfulfilledCommands: false,", "autoResendUnfulfilledCommands: true,"),
    ],
  },
];
