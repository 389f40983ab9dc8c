/** The supervisor: wires store, auth, dispatcher and maintenance; start() in order, stop() in reverse. */
import { randomUUID } from "node:crypto";

import { Audit } from "./audit.ts";
import { type Authenticator, createAuthenticator } from "./auth/authenticate.ts";
import { canonicalText } from "./auth/canonical-json.ts";
import { CursorSealer, deriveKey } from "./auth/cursor.ts";
import type { Keyring, Requirement } from "./auth/keyring.ts";
import { createNativeSigner, createVerifier, selfTest, type Verifier } from "./auth/native-verifier.ts";
import { Sessions } from "./auth/session.ts";
import { type Signer, signingInput, verifySignature } from "./auth/signature.ts";
import { createAddressLimit, KeyLimit } from "./call-limits.ts";
import type { Config } from "./config.ts";
import { Maintenance } from "./jobs/maintenance.ts";
import { createSubmit } from "./jobs/submit.ts";
import { Subscriptions } from "./jobs/subscriptions.ts";
import { KeyringSync } from "./keyring-sync.ts";
import type { Log } from "./log.ts";
import { Metrics } from "./metrics.ts";
import type { Handlers } from "./rpc/context.ts";
import { createDispatcher } from "./rpc/dispatcher.ts";
import { createJobHandlers } from "./rpc/handlers/jobs.ts";
import { createRunnerHandlers } from "./rpc/handlers/runners.ts";
import { createSessionHandlers } from "./rpc/handlers/session.ts";
import { createSystemHandlers } from "./rpc/handlers/system.ts";
import { DEFAULT_SERVERS, type OpenRpcDocument, openRpcDocument, type OpenRpcServer } from "./rpc/openrpc.ts";
import type { Listener, ListenerStatus, RequestHandler } from "./rpc/transport.ts";
import { ApprovalScope } from "./runners/approval-scope.ts";
import { createEnrol } from "./runners/enrol.ts";
import { Presence } from "./runners/presence.ts";
import type { RetentionLimits, Store } from "./store/store.ts";

export interface SupervisorOptions {
  readonly config: Config;
  readonly store: Store;
  readonly keyring: Keyring;
  /** Seed of the identity key: signs tickets, seals cursors. */
  readonly identitySeed: string;
  readonly version: string;
  /** Problems of parts outside (a refused keys.toml), for readiness. */
  readonly problems?: () => readonly string[];
  readonly log: Log;
  /** Where the audit trail goes; to `log` unless told. */
  readonly auditLog?: Log;
  /** Between two comparisons of keyrings with other supervisors, in ms; 10 s unless told. */
  readonly keyringCheckMs?: number;
  /** The carriers for this handler; `src` is blind to which. */
  createListeners(handler: RequestHandler, supervisor: Supervisor): readonly Listener[];
  readonly now?: () => number;
}

/** Whether new work can be taken, and why not. */
export interface Readiness {
  readonly ready: boolean;
  readonly checks: Readonly<Record<string, string>>;
}

/** How long `runner_online` may lag, in ms: one look at Redis serves the admissions of that time. */
const PRESENCE_MS = 250;

/** What the constructor has worked out for the handler. */
interface HandlerParts {
  readonly signer: Signer;
  readonly authenticator: Authenticator;
  readonly sessions: Sessions;
  readonly keyLimit: KeyLimit;
  readonly now: () => number;
}

export class Supervisor {
  readonly identity: string;
  readonly #options: SupervisorOptions;
  readonly #verifier: Verifier;
  readonly #maintenance: Maintenance;
  readonly #listeners: readonly Listener[];
  readonly #audit: Audit;
  readonly #metrics: Metrics | undefined;
  readonly #keyringSync: KeyringSync;
  readonly #approvals: ApprovalScope;
  #openRpc: { readonly urls: string; readonly document: OpenRpcDocument; readonly text: string } | undefined;

  constructor(options: SupervisorOptions) {
    const { config, store, keyring, identitySeed, log } = options;
    const now = options.now ?? Date.now;
    const signer = createNativeSigner(identitySeed);
    this.identity = signer.publicKey;
    this.#options = options;
    this.#verifier = createVerifier({ crypto: config.auth.crypto, maxInFlight: config.auth.max_verifications });
    this.#metrics = config.http.metrics ? this.#createMetrics() : undefined;
    this.#maintenance = new Maintenance({
      store: store.maintenance,
      retention: retentionOf(config),
      intervalMs: config.jobs.reap_interval_ms,
      log,
      onDone: (done) => this.#metrics?.maintained(done),
    });
    this.#audit = new Audit({ log: options.auditLog ?? log, now });
    this.#keyringSync = new KeyringSync({
      keyring,
      store,
      verifier: this.#verifier,
      audit: this.#audit,
      log,
      supervisor: randomUUID(),
      ...(options.keyringCheckMs === undefined ? {} : { intervalMs: options.keyringCheckMs }),
    });
    this.#approvals = new ApprovalScope({
      runners: store.runners,
      keyring,
      log,
      ...(options.keyringCheckMs === undefined ? {} : { intervalMs: options.keyringCheckMs }),
    });
    const authenticator = createAuthenticator({
      identity: this.identity,
      keyring,
      verifier: this.#verifier,
      replay: store.replay,
    });
    const keyLimit = new KeyLimit(keyring, now);
    const { revocations } = store;
    const sessions = new Sessions({
      authenticator,
      revocations,
      lifetimeMs: config.websocket.session_ms,
      now,
      monotonicMs: () => performance.now(),
    });
    const handler = this.#createHandler({ signer, authenticator, sessions, keyLimit, now });
    this.#listeners = options.createListeners(handler, this);
  }

  /** The OpenRPC document as text, for `GET /openrpc.json`. */
  get openRpcText(): string {
    return this.#openRpcNow().text;
  }

  /** For `GET /metrics`, where it is switched on. */
  get metrics(): Pick<Metrics, "text"> | undefined {
    return this.#metrics;
  }

  get listeners(): readonly Listener[] {
    return this.#listeners;
  }

  /** Self-test, store, revocations, maintenance, listeners: nothing is served before everything behind it stands. */
  async start(): Promise<void> {
    await selfTest(this.#verifier);
    await this.#options.store.start(this.identity);
    await this.#keyringSync.start();
    await this.#approvals.start();
    this.#maintenance.start();
    for (const listener of this.#listeners) await listener.start();
  }

  /** Takes nothing new, answers what was taken until the deadline, then lets go of everything. Collects failures. */
  async stop(): Promise<void> {
    this.#approvals.stop();
    const deadline = AbortSignal.timeout(this.#options.config.stop_ms);
    const failures: unknown[] = [];
    const stopped = await Promise.allSettled(this.#listeners.map(async (listener) => listener.stop(deadline)));
    for (const result of stopped) if (result.status === "rejected") failures.push(result.reason);
    const parts = [this.#keyringSync, this.#maintenance].map((part) => async () => untilAborted(part.stop(), deadline));
    for (const stop of [...parts, async () => this.#options.store.stop()]) {
      try {
        await stop();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, "The supervisor did not stop cleanly");
  }

  readiness(): Readiness {
    const health = this.#options.store.health();
    const problems = [...health.problems, ...this.#keyringSync.problems, ...(this.#options.problems?.() ?? [])];
    const transports = this.#listeners.map((listener) => listener.status());
    const checks = {
      redis: health.isUp ? "up" : "down",
      ...Object.fromEntries(
        transports.map(({ name, isUp, detail }) => [
          name,
          isUp ? ["up", detail].filter(Boolean).join(": ") : `down: ${detail ?? "starting"}`,
        ]),
      ),
      ...Object.fromEntries(problems.map((problem, index) => [`problem_${index + 1}`, problem])),
    };
    return { ready: health.isUp && problems.length === 0 && transports.every(({ isUp }) => isUp), checks };
  }

  /** Made again only when a carrier came to another address, as with its start. */
  #openRpcNow(): { readonly document: OpenRpcDocument; readonly text: string } {
    const servers = this.#listeners.map((listener) => listener.status()).flatMap(toServer);
    const urls = servers.map(({ url }) => url).join(" ");
    if (this.#openRpc?.urls === urls) return this.#openRpc;
    const document = openRpcDocument({
      version: this.#options.version,
      servers: servers.length === 0 ? DEFAULT_SERVERS : servers,
      limits: limitsOf(this.#options.config),
    });
    this.#openRpc = { urls, document, text: JSON.stringify(document) };
    return this.#openRpc;
  }

  #createMetrics(): Metrics {
    const { config, store } = this.#options;
    return new Metrics({
      jobs: store.jobs,
      runners: store.runners,
      leaseMs: config.jobs.lease_ms,
      listeners: () => this.#listeners,
      monotonicMs: () => performance.now(),
    });
  }

  #createHandler(parts: HandlerParts): RequestHandler {
    const { config, keyring, log } = this.#options;
    return createDispatcher({
      handlers: this.#createHandlers(parts),
      authenticate: async (call) => parts.authenticator.authenticateCall(call),
      sessions: parts.sessions,
      onRevoked: (callback) => keyring.onRevoked(callback),
      limits: {
        maxBodyBytes: config.http.max_body_bytes,
        maxBatch: config.rpc.max_batch,
        concurrency: config.rpc.concurrency,
        callMs: config.rpc.call_ms,
      },
      addressLimit: createAddressLimit(config, parts.now),
      keyLimit: (caller) => parts.keyLimit.take(caller),
      log,
      newRequestId: randomUUID,
      onCall: (outcome) => {
        this.#audit.call(outcome);
        this.#metrics?.call(outcome);
      },
    });
  }

  #createHandlers({ signer, authenticator, sessions, keyLimit, now }: HandlerParts): Handlers {
    const { config, store, identitySeed, version, log } = this.#options;
    const durability = (): string => store.health().durability;
    const submit = createSubmit({
      identity: this.identity,
      signer,
      jobs: store.jobs,
      runners: new Presence({ isServed: async (name) => store.runners.isServed(name), keepMs: PRESENCE_MS, now }),
      limits: jobLimits(config),
      verifySignatures: (job) => authenticator.verifyJobSignatures(job),
      requirementsFor: (runner) => this.#approvals.requirementsFor(runner),
      isFair: (queue) => config.queue[queue]?.fair === true,
      keyLimit: (caller) => keyLimit.charge(caller),
      durability,
      now,
    });
    const { runners } = store;
    const requirementsFor = (name: string): readonly Requirement[] => this.#options.keyring.requirementsFor(name);
    const enrol = createEnrol({ identity: this.identity, runners, verifyRegistration, requirementsFor, now });
    const maxPerConnection = config.websocket.max_subscriptions;
    const subscriptions = new Subscriptions({ store: store.jobs, maxPerConnection, log });
    const cursors = new CursorSealer(deriveKey(identitySeed, "list_jobs cursor v1"));
    return {
      ...createJobHandlers({ jobs: store.jobs, submit, cursors, sessions }),
      ...createSessionHandlers({ sessions, subscriptions, jobs: store.jobs }),
      ...createRunnerHandlers({ runners: store.runners, enrol, leaseMs: config.jobs.lease_ms }),
      ...createSystemHandlers({
        version,
        identity: this.identity,
        limits: limitsOf(config),
        durability,
        listeners: () => this.#listeners,
        openRpc: () => this.#openRpcNow().document,
        now,
      }),
    };
  }
}

/** Waits for work that a store out of reach may hold up, but not longer: the store's own end lets go of it. */
async function untilAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  const aborted = signal.aborted
    ? Promise.resolve()
    : new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  await Promise.race([work, aborted]);
}

function toServer({ name, url }: ListenerStatus): readonly OpenRpcServer[] {
  return url === undefined ? [] : [{ name, url }];
}

function verifyRegistration(registration: { readonly key: string }, signature: string): boolean {
  const text = canonicalText(registration);
  return text.ok && verifySignature(registration.key, signature, signingInput("runner", text.text));
}

function jobLimits({ jobs }: Config): Parameters<typeof createSubmit>[0]["limits"] {
  return {
    maxPayloadBytes: jobs.max_payload_bytes,
    maxDocumentBytes: jobs.max_document_bytes,
    maxEnvValueBytes: jobs.max_env_value_bytes,
    maxLifetimeSeconds: jobs.max_lifetime_seconds,
    maxQueueJobs: jobs.max_queue_jobs,
    maxQueueBytes: jobs.max_queue_bytes,
    maxPrincipalJobs: jobs.max_principal_jobs,
    maxPrincipalBytes: jobs.max_principal_bytes,
  };
}

function retentionOf({ jobs }: Config): RetentionLimits {
  return {
    maxAgeSeconds: jobs.retention_seconds,
    maxJobs: jobs.retention_jobs,
    maxBytes: jobs.retention_bytes,
  };
}

/** Every limit by its setting's name, as `get_info` and `x-limits` show them. */
export function limitsOf(config: Config): Readonly<Record<string, number>> {
  const entries = [config.http, config.websocket, config.rpc, config.jobs].flatMap((section) =>
    Object.entries(section),
  );
  return Object.fromEntries(
    entries.filter((entry): entry is [string, number] => typeof entry[1] === "number" && entry[0] !== "port"),
  );
}
