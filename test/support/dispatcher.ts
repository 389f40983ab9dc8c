/** A dispatcher over stub handlers, and what tests say to it. */
import type { Caller } from "../../src/auth/policy.ts";
import { SupervisorError } from "../../src/errors.ts";
import { createLog, type Log } from "../../src/log.ts";
import type { Handlers } from "../../src/rpc/context.ts";
import { createDispatcher, type DispatcherOptions } from "../../src/rpc/dispatcher.ts";
import { EXAMPLE_KEYS, JOB_SUMMARY, JOB_VIEW, RUNNER_VIEW } from "../../src/rpc/examples.ts";
import type { Role } from "../../src/rpc/method.ts";
import { RUNNER_STATUS } from "../../src/rpc/methods/runners.ts";
import type { Connection, RequestHandler } from "../../src/rpc/transport.ts";

/** Every method answers its example. */
export function stubHandlers(wanted: Partial<Handlers> = {}): Handlers {
  return {
    create_job: async ({ job }, { verified }) => {
      verified("alice", job.caller_id);
      return {
        id: job.id,
        state: "pending",
        digest: JOB_SUMMARY.digest,
        duplicate: false,
        runner_online: true,
        durability: "memory",
      };
    },
    get_job: async () => JOB_VIEW,
    list_jobs: async () => ({ jobs: [] }),
    wait_job: async () => JOB_SUMMARY,
    get_job_logs: async () => ({ entries: [], next: 0, done: true }),
    cancel_job: async () => JOB_SUMMARY,
    delete_job: async ({ id }) => ({ id, deleted: true }),
    register_runner: async () => RUNNER_VIEW,
    list_runners: async () => ({ runners: [] }),
    get_runner_status: async () => RUNNER_STATUS,
    remove_runner: async ({ name }) => ({ name, removed: true, cancelled: 0 }),
    whoami: async (_params, { caller }) => ({
      key: caller?.key ?? "",
      name: caller?.name ?? "",
      principal: caller?.principal ?? "",
      roles: [...(caller?.roles ?? [])],
      runners: [...(caller?.runners ?? [])],
    }),
    list_peers: async () => ({ peers: [] }),
    get_info: async () => ({
      name: "horus-supervisor",
      version: "0.0.0",
      identity: EXAMPLE_KEYS.supervisor,
      time: 1_790_000_030,
      durability: "memory",
      transports: [],
      limits: {},
    }),
    auth_challenge: async () => ({ challenge: "f".repeat(64), expires_at: 1_790_000_080 }),
    auth_login: async () => ({ key: EXAMPLE_KEYS.caller, principal: "alice", expires_at: 1_790_000_930 }),
    subscribe_job: async () => ({ subscription: "00000000000000a1", logs: true }),
    unsubscribe_job: async ({ subscription }) => ({ subscription, ended: true }),
    "rpc.discover": async () => ({ openrpc: "1.3.2" }),
    ...wanted,
  };
}

export function aCaller(principal: string, ...roles: readonly Role[]): Caller {
  return { key: `key of ${principal}`, name: `${principal}-laptop`, principal, roles, runners: ["*"] };
}

const CALLERS: Readonly<Record<string, Caller>> = {
  alice: aCaller("alice", "submitter"),
  olga: aCaller("olga", "observer"),
  root: aCaller("root", "admin"),
  nobody: aCaller("nobody"),
};

/** Stands for signatures: `auth` is the caller's name and nothing else is good. */
export async function authenticateByName({
  method,
  auth,
}: {
  readonly method: string;
  readonly auth: unknown;
}): Promise<{ readonly caller: Caller; readonly signedText: string }> {
  const caller = typeof auth === "string" ? CALLERS[auth] : undefined;
  if (caller === undefined) throw new SupervisorError("unauthenticated");
  return { caller, signedText: `${method} by ${caller.principal}` };
}

export const quietLog: Log = createLog({ level: "silent", pretty: false });

/** A log whose lines are kept. */
export function keptLog(): { readonly log: Log; readonly lines: string[] } {
  const lines: string[] = [];
  const sink = { write: (line: string) => void lines.push(line) };
  return { log: createLog({ level: "debug", pretty: false }, sink), lines };
}

type DispatcherWishes = Partial<Omit<DispatcherOptions, "limits" | "handlers">> & {
  readonly handlers?: Partial<Handlers>;
  readonly limits?: Partial<DispatcherOptions["limits"]>;
};

export function aDispatcher({ handlers, limits, ...wanted }: DispatcherWishes = {}): RequestHandler {
  return createDispatcher({
    handlers: stubHandlers(handlers),
    authenticate: authenticateByName,
    // Logins are by name too, and bind nothing.
    sessions: {
      verify: async (_connection, auth) => (await authenticateByName({ method: "auth_login", auth })).caller,
      find: async () => undefined,
    },
    onRevoked: () => () => undefined,
    limits: { maxBodyBytes: 2 * 1024 * 1024, maxBatch: 100, concurrency: 16, callMs: 30_000, ...limits },
    addressLimit: () => 0,
    keyLimit: () => 0,
    log: quietLog,
    newRequestId: () => "request-1",
    ...wanted,
  });
}

export function aConnection(wanted: Partial<Connection> = {}): Connection {
  return {
    peer: { transport: "in-process" },
    signal: new AbortController().signal,
    maxWaitMs: 25_000,
    maxAnswerBytes: 10 * 1024 * 1024,
    ...wanted,
  };
}

/** Sends JSON text or a value to be written as such; gives the answer's text, nothing where there is none. */
export async function send(
  handler: RequestHandler,
  message: unknown,
  connection: Connection = aConnection(),
): Promise<string | undefined> {
  const text = typeof message === "string" ? message : JSON.stringify(message);
  const { bytes } = await handler.handle(new TextEncoder().encode(text), connection);
  return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
}

/** The same, parsed. */
export async function ask(handler: RequestHandler, message: unknown, connection?: Connection): Promise<unknown> {
  const text = await send(handler, message, connection);
  return text === undefined ? undefined : JSON.parse(text);
}

/** A request object with an id. */
export function aRequest(method: string, params?: unknown, id: unknown = 1): Record<string, unknown> {
  return { jsonrpc: "2.0", id, method, ...(params === undefined ? {} : { params }) };
}

/** The credential of a submitter. */
export const ALICE = { auth: "alice" };

/** What an answer with this error looks like, as far as a test cares. */
export function anError(code: number, data?: unknown): { readonly error: object } {
  return { error: data === undefined ? { code } : { code, data } };
}
