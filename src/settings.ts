/** THE table of settings: type, default, unit and meaning of each; config, help and the example file follow from it. */
import { type Static, type TSchema, Type } from "typebox";

interface Extra {
  /** The flag that sets it, without dashes; every setting has an environment variable, few have a flag. */
  readonly flag?: string;
}

const KIB = 1024;
const MIB = 1024 * KIB;
/** The daemon takes 2 MiB of JSON with the message in it as base64; what is larger would never leave. */
const MYCELIUM_BYTES = 1.5 * MIB - KIB;
const DAY_SECONDS = 86_400;

const text = (value: string, description: string, extra: Extra & { pattern?: string } = {}) =>
  Type.String({ default: value, description, ...extra });
const integer = (
  value: number,
  [minimum, maximum]: readonly [number, number],
  description: string,
  extra: Extra = {},
) => Type.Integer({ default: value, minimum, maximum, description, ...extra });
const flag = (value: boolean, description: string, extra: Extra = {}) =>
  Type.Boolean({ default: value, description, ...extra });
const list = (description: string) => Type.Array(Type.String(), { default: [], description });
const choice = <const Values extends readonly string[]>(
  value: Values[number],
  values: Values,
  description: string,
  extra: Extra = {},
) => Type.Unsafe<Values[number]>({ type: "string", enum: values, default: value, description, ...extra });

const MS: readonly [number, number] = [1, 3_600_000];
const BYTES: readonly [number, number] = [KIB, 1024 * MIB];
const COUNT: readonly [number, number] = [1, 100_000_000];

const http = {
  enabled: flag(true, "Serve HTTP and WebSocket; --no-http leaves Mycelium alone"),
  host: text("127.0.0.1", "Address to bind; beyond loopback set tls_cert and tls_key", { flag: "host" }),
  port: integer(8080, [0, 65_535], "TCP port; 0 takes a free one", { flag: "port" }),
  allowed_hosts: list("Host names served beside loopback and the bound address (guard against DNS rebinding)"),
  allowed_origins: list("Origins whose pages in browsers may call; none unless listed"),
  tls_cert: text("", "Certificate chain, PEM file", { flag: "tls-cert" }),
  tls_key: text("", "Private key, PEM file", { flag: "tls-key" }),
  max_body_bytes: integer(2 * MIB, BYTES, "Largest request body"),
  max_answer_bytes: integer(10 * MIB, BYTES, "Largest answer"),
  max_connections: integer(1000, COUNT, "Open connections"),
  headers_ms: integer(5000, MS, "Time to send the request's head"),
  request_ms: integer(15_000, MS, "Time to send the whole request"),
  keep_alive_ms: integer(5000, MS, "Idle time before a kept connection is closed"),
  metrics: flag(false, "Serve GET /metrics for Prometheus; it names runners and counts jobs", { flag: "metrics" }),
};

const websocket = {
  enabled: flag(true, "Serve WebSocket on the HTTP port, at / and /ws"),
  max_in_flight: integer(64, COUNT, "Messages of one connection carried out at a time"),
  max_fragments: integer(1024, COUNT, "Frames of one message"),
  max_unsent_bytes: integer(4 * MIB, BYTES, "Left unsent on one connection; beyond it too slow a reader is closed"),
  max_subscriptions: integer(64, COUNT, "Jobs followed on one connection"),
  ping_ms: integer(20_000, MS, "Between two pings; two without an answer end a connection"),
  session_ms: integer(900_000, MS, "A login ends after this time"),
};

const rpc = {
  max_batch: integer(100, [1, 10_000], "Entries of one batch"),
  concurrency: integer(16, [1, 1000], "Calls of one connection carried out at a time"),
  call_ms: integer(30_000, MS, "Time for one call; waiting calls have their wait on top"),
  address_calls_per_second: integer(5000, COUNT, "Calls from one address or overlay node, before signature work"),
  address_burst: integer(10_000, COUNT, "Calls from one address at once"),
};

const auth = {
  crypto: choice("native", ["native", "noble"], "Verifier: node:crypto with noble's key checks, or noble alone"),
  max_verifications: integer(512, [16, 100_000], "Signature checks in flight; more are refused"),
};

const redis = {
  url: text(
    "redis://localhost:6379",
    "redis://, rediss://, unix:///path; password by SUPERVISOR_REDIS_URL or this file",
    {
      flag: "redis-url",
    },
  ),
  prefix: text("horus", "First part of every key name", { pattern: "^[A-Za-z0-9_.-]{1,32}$" }),
  shards: integer(
    0,
    [0, 256],
    "Parts of the key space; 0: 1 on a single Redis or Sentinel, 16 on a Cluster. Fixed at first start",
  ),
  durability: text("auto", "auto, memory, everysec, always or replicated(n): what an acknowledgement stands for", {
    pattern: "^(auto|memory|everysec|always|replicated\\([1-9]\\))$",
  }),
  command_timeout_ms: integer(5000, MS, "Time for one Redis command"),
  allow_unsafe: flag(false, "Start on a Redis that may evict keys or is too old", { flag: "allow-unsafe-redis" }),
};

const jobs = {
  max_payload_bytes: integer(256 * KIB, BYTES, "Payload, UTF-8"),
  max_document_bytes: integer(512 * KIB, BYTES, "Whole canonical job document"),
  max_env_value_bytes: integer(8 * KIB, [1, MIB], "One environment value"),
  max_lifetime_seconds: integer(7 * DAY_SECONDS, [60, 365 * DAY_SECONDS], "expires_at beyond created_at"),
  max_queue_jobs: integer(1_000_000, COUNT, "Jobs waiting in one queue"),
  max_queue_bytes: integer(1024 * MIB, [KIB, 1024 * 1024 * MIB], "Bytes of documents waiting in one queue"),
  max_principal_jobs: integer(500_000, COUNT, "Jobs of one principal waiting, in all queues"),
  max_principal_bytes: integer(512 * MIB, [KIB, 1024 * 1024 * MIB], "Bytes of one principal's documents waiting"),
  max_log_bytes: integer(10 * MIB, BYTES, "Log of one attempt; the rest is cut, with a marker"),
  max_log_line_bytes: integer(16 * KIB, [256, MIB], "One log line; longer ones are split, with a marker"),
  max_result_bytes: integer(256 * KIB, BYTES, "Result of one attempt; a larger one fails it"),
  kill_grace_ms: integer(1000, MS, "Between SIGTERM and SIGKILL for a job that is cancelled or out of time"),
  lease_ms: integer(15_000, [500, 600_000], "Right to run without renewal; a vanished runner is noticed after it"),
  reap_interval_ms: integer(1000, [50, 60_000], "Between two looks for lost leases and expired jobs"),
  retry_base_ms: integer(1000, MS, "Delay before the second attempt; doubles with each failure, with jitter"),
  retry_max_ms: integer(60_000, MS, "Longest delay before a retry"),
  retention_seconds: integer(7 * DAY_SECONDS, [1, 3650 * DAY_SECONDS], "Ended jobs are kept this long"),
  retention_jobs: integer(100_000, COUNT, "Ended jobs kept for each terminal state"),
  retention_bytes: integer(
    1024 * MIB,
    [MIB, 1024 * 1024 * MIB],
    "Bytes of those, with logs and results; the newest stays",
  ),
};

const mycelium = {
  enabled: flag(false, "Serve over the local Mycelium daemon", { flag: "mycelium" }),
  api: text("http://127.0.0.1:8989/api/v1", "REST API of the daemon", { flag: "mycelium-api" }),
  topic: text("supervisor.rpc", "Message topic", { flag: "mycelium-topic" }),
  receive: choice("hold", ["hold", "poll"], "hold: daemon of our own; poll: a daemon shared with other programs"),
  max_message_bytes: integer(MIB, [KIB, MYCELIUM_BYTES], "Largest message sent or answered"),
  messages_per_second: integer(12, [1, 1000], "Messages sent a second, sustained"),
  unauthenticated_per_second: integer(2, [1, 1000], "Replies a second to all that nobody signed or that is malformed"),
  sources: list("Subnets put on the daemon's whitelist for the topic"),
  allow_remote_api: flag(false, "Use a daemon whose API is not on loopback"),
};

const log = {
  level: choice("info", ["debug", "info", "warn", "error", "silent"], "Least severe level written", {
    flag: "log-level",
  }),
  audit_file: text("", "File of the audit trail, JSON lines; in the log unless named", { flag: "audit-log" }),
  pretty: flag(false, "Readable lines instead of JSON", { flag: "log-pretty" }),
};

const closed = { additionalProperties: false } as const;

/** One `[executor.NAME]` of a runner (spec: jobs-and-redis, "Executors"). */
export const ExecutorSettings = Type.Object(
  {
    command: Type.Array(Type.String(), { minItems: 1, description: "argv; no shell around it" }),
    payload: Type.Optional(Type.Enum(["stdin", "file"], { description: "Where the payload goes" })),
    env: Type.Optional(Type.Array(Type.String(), { description: "Patterns of job environment names let through" })),
    working_directory: Type.Optional(Type.String({ description: "Instead of a fresh temporary directory" })),
  },
  closed,
);
export type ExecutorSettings = Static<typeof ExecutorSettings>;

/** One `[queue.NAME]`: a runner's name or a group (spec: jobs-and-redis, "Order"). */
export const QueueSettings = Type.Object(
  {
    fair: Type.Optional(
      Type.Boolean({ description: "Callers are served in turn, however many jobs one of them sent" }),
    ),
  },
  closed,
);
export type QueueSettings = Static<typeof QueueSettings>;

/** Tables of their own under a name; their members are no settings with a flag and a variable. */
const names = { pattern: "^[a-z0-9][a-z0-9._-]{0,63}$" } as const;

/** Every setting, in sections as the TOML file has them. */
export const Settings = Type.Object(
  {
    data_dir: text("", "Identity, keys.toml and runner keys; empty: ~/.local/share/horus-supervisor", {
      flag: "data-dir",
    }),
    stop_ms: integer(8000, MS, "Time to answer what was taken when stopping"),
    http: Type.Object(http, closed),
    websocket: Type.Object(websocket, closed),
    rpc: Type.Object(rpc, closed),
    auth: Type.Object(auth, closed),
    redis: Type.Object(redis, closed),
    jobs: Type.Object(jobs, closed),
    mycelium: Type.Object(mycelium, closed),
    log: Type.Object(log, closed),
    executor: Type.Unsafe<Readonly<Record<string, ExecutorSettings>>>({
      type: "object",
      default: {},
      description: "Executors of a runner started with this file, by name",
      propertyNames: names,
      additionalProperties: ExecutorSettings,
    }),
    queue: Type.Unsafe<Readonly<Record<string, QueueSettings>>>({
      type: "object",
      default: {},
      description: "How the jobs sent to a runner or group are served, by its name",
      propertyNames: names,
      additionalProperties: QueueSettings,
    }),
  },
  closed,
);
export type Settings = Static<typeof Settings>;

/** One setting as help, environment and the example file see it. */
export interface Setting {
  /** `http.port` */
  readonly path: string;
  /** `SUPERVISOR_HTTP_PORT` */
  readonly env: string;
  readonly flag?: string;
  readonly type: "string" | "integer" | "boolean" | "list";
  readonly default: unknown;
  readonly description: string;
}

function typeOf(type: unknown): Setting["type"] {
  if (type === "integer" || type === "boolean") return type;
  return type === "array" ? "list" : "string";
}

function collect(properties: Readonly<Record<string, TSchema>>, prefix: string): Setting[] {
  return Object.entries(properties).flatMap(([name, schema]): Setting[] => {
    const path = prefix === "" ? name : `${prefix}.${name}`;
    if (Type.IsObject(schema)) return collect(schema.properties, path);
    const { type, default: value, description, flag: flagName }: Readonly<Record<string, unknown>> = { ...schema };
    if (type === "object") return [];
    return [
      {
        path,
        env: `SUPERVISOR_${path.replace(".", "_").toUpperCase()}`,
        ...(typeof flagName === "string" ? { flag: flagName } : {}),
        type: typeOf(type),
        default: value,
        description: String(description),
      },
    ];
  });
}

/** Every setting of the table in its order; executors and queues are not among them (they are tables of their own). */
export function allSettings(): readonly Setting[] {
  return collect(Settings.properties, "");
}
