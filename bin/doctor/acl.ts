/** `supervisor doctor --acl`: the Redis users that the settings ask for, to be piped into redis-cli. */
import type { Config } from "../../src/config.ts";
import { runnerUser, supervisorUser, toAclLine } from "../../src/store/redis-acl.ts";
import { type CommandInput, type Flags, UsageError } from "../command.ts";
import { printData } from "../terminal.ts";

/** Stands in the rules where no runner was named: no runner can be called that. */
const ANY_RUNNER = { name: "NAME", groups: ["GROUP"] };

const ADVICE = `\
# Pipe these lines into redis-cli, as Redis' administrator, on every node. A user that is new is off until it has a
# password, which here comes from a file, past the history and the list of processes:
#   printf '>%s' "$(cat FILE)" | redis-cli -x ACL SETUSER USER on
# Then ACL SAVE (or CONFIG REWRITE) keeps them, each side's redis.url names its user and password, and
# ACL SETUSER default off keeps everybody else out. For a runner: --runner NAME --groups A,B
`;

/** Rules on standard output, one line a user; how to use them on standard error. No password is in either. */
export function printAcl({ flags, terminal }: CommandInput, { redis }: Config): void {
  const users = [supervisorUser(redis), runnerUser(redis, runnerOf(flags) ?? ANY_RUNNER)];
  const isJson = flags.has("json");
  printData(terminal, users, { isJson, lines: () => users.map(toAclLine) });
  if (!isJson) terminal.err(ADVICE);
}

/** @throws UsageError for names that no runner or group can have: they would be rules of their own */
function runnerOf(flags: Flags): typeof ANY_RUNNER | undefined {
  const name = flags.text("runner");
  const groups = flags.text("groups");
  if (name === undefined && groups === undefined) return undefined;
  if (name === undefined) throw new UsageError("--groups are a runner's: give --runner NAME as well.");
  return { name: nameOf("runner", name), groups: groups?.split(",").map((group) => nameOf("groups", group)) ?? [] };
}

function nameOf(flag: string, name: string): string {
  if (/^[a-z0-9][a-z0-9._-]{0,63}$/u.test(name)) return name;
  throw new UsageError(
    `--${flag} "${name}": a name is up to 64 of a-z, 0-9, ".", "_", "-", a letter or digit first; commas between groups.`,
  );
}
