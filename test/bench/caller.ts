/** Signed calls over one kept connection, one at a time: they are signed before the clock starts, and read after it stopped. */
import { randomBytes } from "node:crypto";

import { createNativeSigner } from "../../src/auth/native-verifier.ts";
import { type Signer, signDocument } from "../../src/auth/signature.ts";
import { buildJob, type SignedJob, signJob } from "../../src/client/job.ts";
import { parseResponse } from "../../src/client/response.ts";
import type { MethodName, Params, Result } from "../../src/rpc/methods.ts";
import { HttpConnection } from "./http-connection.ts";
import { type JobsFor, PAYLOAD, toRequest } from "./signed-jobs.ts";

export interface Timed<Value> {
  readonly value: Value;
  /** From the first byte sent to the last one received. */
  readonly ms: number;
}

const HOST = "127.0.0.1";
const VALIDITY_SECONDS = 60;

export class Caller {
  readonly #port: number;
  readonly #jobs: JobsFor;
  readonly #signer: Signer;
  #connection: HttpConnection | undefined;
  #lastId = 0;

  constructor(port: number, jobs: JobsFor) {
    this.#port = port;
    this.#jobs = jobs;
    this.#signer = createNativeSigner(jobs.seed);
  }

  close(): void {
    this.#connection?.close();
  }

  /** @throws RpcError when it is refused. */
  async create(): Promise<Timed<Result<"create_job">>> {
    return this.submit(await this.signJob());
  }

  /** A new job, for whichever supervisor of the identity. */
  async signJob(): Promise<SignedJob> {
    const { supervisor, runner } = this.#jobs;
    return signJob(this.#signer, buildJob({ supervisor, caller: this.#signer.publicKey, runner, payload: PAYLOAD }));
  }

  /** @throws RpcError when it is refused. */
  async submit(signed: SignedJob): Promise<Timed<Result<"create_job">>> {
    return this.#send("create_job", signed);
  }

  /** @throws RpcError when it is refused. */
  async call<Name extends MethodName>(method: Name, params: Params<Name>): Promise<Timed<Result<Name>>> {
    const iat = Math.floor(Date.now() / 1000);
    const auth = {
      v: 1,
      aud: this.#jobs.supervisor,
      key: this.#signer.publicKey,
      iat,
      exp: iat + VALIDITY_SECONDS,
      nonce: randomBytes(16).toString("hex"),
    };
    const { signature } = await signDocument(this.#signer, "call", { ...auth, method, params });
    return this.#send(method, { ...params, auth: { ...auth, sig: signature } });
  }

  async #send<Name extends MethodName>(method: Name, params: object): Promise<Timed<Result<Name>>> {
    this.#lastId += 1;
    const id = String(this.#lastId);
    const request = toRequest({ jsonrpc: "2.0", id, method, params }, `${HOST}:${this.#port}`);
    const connection = await this.#present();
    const { value, ms } = await timed(async () => connection.exchange(request));
    return { value: parseResponse(value, { name: method, id }), ms };
  }

  /** One that said nothing for long has been closed by the server, before its first request very soon. */
  async #present(): Promise<HttpConnection> {
    if (this.#connection === undefined || this.#connection.isClosed) {
      this.#connection = await HttpConnection.open(HOST, this.#port);
    }
    return this.#connection;
  }
}

export async function timed<Value>(work: () => Promise<Value>): Promise<Timed<Value>> {
  const startMs = performance.now();
  const value = await work();
  return { value, ms: performance.now() - startMs };
}
