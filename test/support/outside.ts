/** A supervisor started by its own command line, as somebody sees it who has nothing but its port and the owner's key. */
import { randomBytes } from "node:crypto";
import { join } from "node:path";

import { readSeed } from "../../src/auth/key-file.ts";
import { createNativeSigner } from "../../src/auth/native-verifier.ts";
import { type Signer, SupervisorClient } from "../../src/client/index.ts";
import { dataPaths } from "../../src/data-directory.ts";
import type { JobDocument } from "../../src/rpc/schema.ts";
import { createHttpDialer } from "../../transports/http/dialer.ts";
import { aCall, aCreateJob, loginParams } from "./calls.ts";
import { type Console, startConsole } from "./command-line.ts";
import { attachSource } from "./registration.ts";
import { objectOf } from "./signing.ts";
import { aPlainClient, type PlainClient } from "./websocket.ts";

export class Outside implements AsyncDisposable {
  readonly console: Console;
  readonly owner: Signer;
  readonly identity: string;
  readonly client: SupervisorClient;

  private constructor(console: Console, owner: Signer, identity: string) {
    this.console = console;
    this.owner = owner;
    this.identity = identity;
    const dialer = createHttpDialer(console.url);
    this.client = new SupervisorClient({ dialer, signer: owner, supervisor: identity });
  }

  /** `settings` as in the settings file. */
  static async start(settings: string): Promise<Outside> {
    const console = await startConsole(settings);
    const paths = dataPaths(console.dataDirectory);
    const identity = createNativeSigner(await readSeed(paths.identity)).publicKey;
    return new Outside(console, createNativeSigner(await readSeed(paths.owner)), identity);
  }

  get port(): number {
    return Number(new URL(this.console.url).port);
  }

  /** A message as one POST; the answer's status, Retry-After and body. */
  async post(message: unknown): Promise<{ status: number; retryAfter: string | null; body: unknown }> {
    const body = typeof message === "string" ? message : JSON.stringify(message);
    const headers = { "content-type": "application/json" };
    const response = await fetch(this.console.url, { method: "POST", headers, body });
    const text = await response.text();
    return { status: response.status, retryAfter: response.headers.get("retry-after"), body: JSON.parse(text) };
  }

  /** The body alone. */
  async ask(message: unknown): Promise<unknown> {
    return (await this.post(message)).body;
  }

  /** A request signed by the owner. */
  async signed(method: string, params: object = {}): Promise<object> {
    return aCall(method, params, { aud: this.identity, signer: this.owner });
  }

  /** An `auth_login` request of the owner. */
  async login(challenge: string): Promise<object> {
    const params = await loginParams(challenge, { aud: this.identity, signer: this.owner });
    return { jsonrpc: "2.0", id: 2, method: "auth_login", params };
  }

  /** A `create_job` request for runner `build`. */
  async aJob(wanted: Partial<JobDocument> = {}): ReturnType<typeof aCreateJob> {
    return aCreateJob(this.owner, { supervisor: this.identity, ...wanted });
  }

  /** Runner `build` is known, and nobody works for it. */
  async register(): Promise<void> {
    await this.console.json(["runner", "register", "build"]);
  }

  /** An admitted job's id. @throws Error with the answer where it was not. */
  async submit(wanted: Partial<JobDocument> = {}): Promise<string> {
    const request = await this.aJob(wanted);
    const answer = objectOf(JSON.stringify(await this.ask(request)));
    if (answer["result"] === undefined) throw new Error(`Not admitted: ${JSON.stringify(answer)}`);
    return request.params.job.id;
  }

  /** Runner `build` carries out jobs, by the same settings file. */
  async startRunner(): Promise<void> {
    await this.console.startRunner("build", ["--config", join(this.console.directory, "settings.toml")]);
  }

  /** A job that runner `build` claims before it is not heard of again. */
  async loseJob(wanted: Partial<JobDocument>): Promise<string> {
    const { client, identity, console } = this;
    const runner = { name: "build", registrar: client, supervisor: identity, redisUrl: console.redis.url };
    const source = await attachSource(runner);
    try {
      const id = await this.submit(wanted);
      await source.claim(1, randomBytes(16).toString("hex"));
      return id;
    } finally {
      await source.stop();
    }
  }

  async webSocket(options?: Parameters<typeof aPlainClient>[1]): Promise<PlainClient> {
    return aPlainClient(this.console.url.replace("http", "ws"), options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.console[Symbol.asyncDispose]();
  }
}
