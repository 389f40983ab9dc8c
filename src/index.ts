/** The public door `horus-supervisor`: for programs that embed a supervisor or a runner. Clients use `horus-supervisor/client`. */

// Supervisor
export { limitsOf, type Readiness, Supervisor, type SupervisorOptions } from "./supervisor.ts";
export { buildConfig, type Config, ConfigError, type ConfigSources, loadConfig } from "./config.ts";
export { type DataDirectory, type DataPaths, openDataDirectory } from "./data-directory.ts";
export { Keyring } from "./auth/keyring.ts";
export { loadKeyring, watchKeyring } from "./auth/keyring-file.ts";
export { createLog, type Log, type LogDestination, type LogSettings } from "./log.ts";

// Store
export type { Store } from "./store/store.ts";
export { createRedisStore, type RedisStoreOptions } from "./store/redis-store.ts";

// Boundary to the carriers
export type { Answer, Connection, Listener, ListenerStatus, Peer, RequestHandler } from "./rpc/transport.ts";

// Errors
export { type ErrorName, ERRORS, SupervisorError } from "./errors.ts";

// Runner
export { createRedisJobSource, type RedisJobSource, type RedisJobSourceOptions } from "./store/redis-source.ts";
export * from "./runner/index.ts";
