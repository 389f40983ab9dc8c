/** A supervisor as a process: flags → config → parts → start → signals → exit code. */
import { AuditFile } from "../src/audit-file.ts";
import { loadKeyring, watchKeyring } from "../src/auth/keyring-file.ts";
import { Keyring } from "../src/auth/keyring.ts";
import { type Config } from "../src/config.ts";
import { openDataDirectory } from "../src/data-directory.ts";
import { createLog, type Log } from "../src/log.ts";
import { redactUrl } from "../src/redact-url.ts";
import type { Listener, RequestHandler } from "../src/rpc/transport.ts";
import { createRedisStore } from "../src/store/redis-store.ts";
import { Supervisor } from "../src/supervisor.ts";
import { createHttpListener } from "../transports/http/listener.ts";
import { MyceliumListener } from "../transports/mycelium/listener.ts";
import { createWebSocketListener, type WebSocketListener } from "../transports/websocket/listener.ts";
import type { CommandInput, Flags } from "./command.ts";
import { configOf } from "./config.ts";
import { announceMade, announceNext, hadNoRunner } from "./first-start.ts";
import { terminalLog } from "./log.ts";
import { redisStoreOptions } from "./redis-options.ts";
import { type Terminal, untilStopped } from "./terminal.ts";
import { programVersion } from "./version.ts";

const KEYRING_REFUSED =
  "keys.toml is refused, and the last good one stays in force. The log says why, and so does: supervisor keys check";

export async function serve({ flags, terminal }: CommandInput): Promise<number> {
  const config = await configOf(flags, terminal);
  const log = terminalLog(terminal, config.log);
  warnAboutFlags(flags, log);
  const data = await openDataDirectory(config.data_dir);
  const { keys, requirements } = await loadKeyring(data.paths.keyring);
  const keyring = new Keyring(keys, Date.now, requirements);
  const auditFile = config.log.audit_file === "" ? undefined : new AuditFile(config.log.audit_file);
  const watch = watchKeyring({ path: data.paths.keyring, keyring, log });
  const supervisor = new Supervisor({
    config,
    store: createRedisStore(redisStoreOptions(config, log)),
    keyring,
    identitySeed: data.identitySeed,
    version: programVersion(),
    // What is wrong names keys, and health is for anybody to read.
    problems: () => [watch.problem && KEYRING_REFUSED, auditFile?.problem].filter((problem) => problem !== undefined),
    log,
    ...(auditFile === undefined ? {} : { auditLog: createLog({ level: "info", pretty: false }, auditFile) }),
    createListeners: (handler, self) => createListeners({ config, handler, supervisor: self, log }),
  });
  if (data.isNew) announceMade(terminal, config, supervisor.identity);
  const wantsNext = data.isNew || (terminal.isInteractive && (await hadNoRunner(data.paths)));
  const configFile = flags.text("config");
  const onStarted = async (url: string | undefined): Promise<void> => {
    if (wantsNext) await announceNext(terminal, { config, configFile, url });
  };
  const stopReloads = terminal.onReload(() => {
    auditFile?.reopen();
    void watch.reload();
    for (const listener of supervisor.listeners) void listener.reload?.();
  });
  try {
    await runUntilStopped(supervisor, { terminal, config, log, onStarted });
  } finally {
    stopReloads();
    watch.stop();
    auditFile?.close();
  }
  return 0;
}

interface Run {
  readonly terminal: Terminal;
  readonly config: Config;
  readonly log: Log;
  /** With the address of the first carrier. */
  readonly onStarted: (url: string | undefined) => Promise<void>;
}

async function runUntilStopped(supervisor: Supervisor, { terminal, config, log, onStarted }: Run): Promise<void> {
  try {
    await supervisor.start();
    const carriers = supervisor.listeners.map((listener) => listener.status());
    const urls = carriers.map(({ url }) => url).filter((url) => url !== undefined);
    // A daemon that is not there yet is waited for: where peers reach this node is not known before.
    const waiting = carriers.filter(({ url }) => url === undefined).map(({ name }) => name);
    const { identity } = supervisor;
    const redis = redactUrl(config.redis.url);
    log.info(
      { event: "started", identity, urls, redis, waiting: waiting.length === 0 ? undefined : waiting },
      "supervisor is up",
    );
    await onStarted(urls[0]);
    await untilStopped(terminal);
    log.info({ event: "stopping", deadline_ms: config.stop_ms }, "stopping: answering what was taken");
  } finally {
    await supervisor.stop();
  }
  log.info({ event: "stopped" }, "supervisor stopped");
}

function warnAboutFlags(flags: Flags, log: Log): void {
  if (flags.text("redis-url")?.match(/\/\/[^/@]*:[^/@]*@/u)) {
    log.warn(
      { event: "secret_in_argv" },
      "the password in --redis-url shows in ps; use SUPERVISOR_REDIS_URL or the file",
    );
  }
}

interface ListenerParts {
  readonly config: Config;
  readonly handler: RequestHandler;
  readonly supervisor: Supervisor;
  readonly log: Log;
}

/** One line for each carrier. */
function createListeners(parts: ListenerParts): readonly Listener[] {
  const { config } = parts;
  return [
    ...(config.http.enabled ? httpListeners(parts) : []),
    ...(config.mycelium.enabled ? [myceliumListener(parts)] : []),
  ];
}

function myceliumListener({ config: { mycelium, data_dir: dataDir }, handler, log }: ListenerParts): Listener {
  return new MyceliumListener(
    {
      api: mycelium.api,
      allowRemoteApi: mycelium.allow_remote_api,
      topic: mycelium.topic,
      receive: mycelium.receive,
      maxMessageBytes: mycelium.max_message_bytes,
      messagesPerSecond: mycelium.messages_per_second,
      unauthenticatedPerSecond: mycelium.unauthenticated_per_second,
      sources: mycelium.sources,
      dataDir,
    },
    { handler, log },
  );
}

/** HTTP, and WebSocket on the same port. */
function httpListeners(parts: ListenerParts): readonly Listener[] {
  if (!parts.config.websocket.enabled) return [httpListener(parts)];
  const websocket = webSocketListener(parts, () => http.status().url);
  const http = httpListener(parts, websocket);
  return [http, websocket];
}

function webSocketListener(
  { config, handler, log }: ListenerParts,
  httpUrl: () => string | undefined,
): WebSocketListener {
  const { http, websocket } = config;
  return createWebSocketListener({
    handler,
    httpUrl,
    limits: {
      maxBodyBytes: http.max_body_bytes,
      maxAnswerBytes: http.max_answer_bytes,
      maxFragments: websocket.max_fragments,
      maxInFlight: websocket.max_in_flight,
      maxUnsentBytes: websocket.max_unsent_bytes,
      pingMs: websocket.ping_ms,
    },
    maxWaitMs: 25_000,
    log,
  });
}

function httpListener(
  { config: { http, rpc }, handler, supervisor, log }: ListenerParts,
  websocket?: WebSocketListener,
): Listener {
  const { metrics } = supervisor;
  return createHttpListener({
    handler,
    host: http.host,
    port: http.port,
    allowedHosts: http.allowed_hosts,
    allowedOrigins: http.allowed_origins,
    limits: {
      maxBodyBytes: http.max_body_bytes,
      maxAnswerBytes: http.max_answer_bytes,
      maxConnections: http.max_connections,
      headersMs: http.headers_ms,
      requestMs: http.request_ms,
      keepAliveMs: http.keep_alive_ms,
      concurrency: rpc.concurrency,
    },
    maxWaitMs: 25_000,
    readiness: async () => supervisor.readiness(),
    openrpc: () => supervisor.openRpcText,
    ...(metrics === undefined ? {} : { metrics: async () => metrics.text() }),
    ...(http.tls_cert === "" ? {} : { tls: { certFile: http.tls_cert, keyFile: http.tls_key } }),
    ...(websocket === undefined ? {} : { onUpgrade: websocket.upgrade }),
    log,
  });
}
