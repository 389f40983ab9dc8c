/** Who sent this: turns the signature of a call, or the signatures of a job, into a caller, or refuses. */
import { SupervisorError } from "../errors.ts";
import type { JobDocument, SignatureEntry } from "../rpc/schema.ts";
import type { Peer } from "../rpc/transport.ts";
import type { ReplayStore } from "../store/store.ts";
import { canonicalText } from "./canonical-json.ts";
import { type CallProof, parseCallAuth, parseLoginAuth, parseSignatures } from "./credential.ts";
import type { EnrolledKey, Keyring } from "./keyring.ts";
import { nativeDigest, type Verifier } from "./native-verifier.ts";
import type { Caller } from "./policy.ts";
import { type Kind, signingInput } from "./signature.ts";

/** Longest `exp - iat` of a call, in seconds (spec: signing, "Every other call"). */
const MAX_VALIDITY_SECONDS = 600;

export interface AuthenticatorOptions {
  /** The supervisor's public key: what `aud` must be. */
  readonly identity: string;
  readonly keyring: Pick<Keyring, "find">;
  readonly verifier: Pick<Verifier, "verify" | "assertRoom">;
  readonly replay: ReplayStore;
  /** UNIX ms, only to tell a refused caller the time; windows are judged by Redis' clock. The system's unless told. */
  readonly now?: () => number;
}

/** One call as it came, its parameters without `auth`. */
export interface IncomingCall {
  readonly method: string;
  readonly params: object;
  /** `params.auth`, whatever it is. */
  readonly auth: unknown;
  readonly peer: Peer;
}

/** `params.auth` of a login as it came, and the challenge its connection was given. */
export interface IncomingLogin {
  readonly auth: unknown;
  /** Undefined where none was, or it has been used. */
  readonly challenge: string | undefined;
  readonly peer: Peer;
}

/** A job of the right shape, with `signatures` as they came. */
export interface IncomingJob {
  readonly job: JobDocument;
  readonly signatures: unknown;
  readonly peer: Peer;
}

export interface VerifiedCall {
  readonly caller: Caller;
  /** Canonical text of the signed body with `sig` added: all that an offline check of this call needs. */
  readonly signedText: string;
}

/** A job whose every signature is good. */
export interface VerifiedJob {
  /** Canonical text of the document: what was signed, byte for byte. */
  readonly text: string;
  readonly digest: string;
  /** The owner of `caller_id`. */
  readonly caller: Caller;
  /** Keys that signed, the caller's among them. */
  readonly signers: readonly string[];
  /** Who owns them, each once: what a requirement of approvals counts. */
  readonly principals: readonly string[];
  readonly signatures: readonly SignatureEntry[];
}

export interface Authenticator {
  /**
   * @throws SupervisorError `unauthenticated` (one message whatever was wrong), `wrongAudience`, `stale`, `replay`,
   * `invalidParams` (parameters without canonical text), `tooMany`, `unavailable` (no replay guard, no call).
   */
  authenticateCall(call: IncomingCall): Promise<VerifiedCall>;
  /** @throws SupervisorError `unauthenticated`, `wrongAudience`, `invalidParams`, `tooMany`. */
  verifyJobSignatures(options: IncomingJob): Promise<VerifiedJob>;
  /** @throws SupervisorError `unauthenticated`, `wrongAudience`, `stale`, `replay`, `tooMany`, `unavailable`. */
  verifyLogin(login: IncomingLogin): Promise<Caller>;
  /** Whom a key stands for at this moment on this carrier; undefined where it has no rights. Nothing is verified. */
  findCaller(key: string, peer: Peer): Caller | undefined;
}

/**
 * Makes the authenticator of one supervisor. What it says before a signature was found good never depends on which keys
 * are enrolled: audience, window, canonical form and load are judged before the keyring is asked.
 */
export function createAuthenticator(options: AuthenticatorOptions): Authenticator {
  return {
    authenticateCall: async (call) => authenticateCall(call, options),
    verifyJobSignatures: (job) => verifyJobSignatures(job, options),
    verifyLogin: async (login) => verifyLogin(login, options),
    findCaller: (key, peer) => {
      const entry = options.keyring.find(key);
      return entry !== undefined && isCarried(entry, peer) ? toCaller(entry) : undefined;
    },
  };
}

async function authenticateCall(call: IncomingCall, options: AuthenticatorOptions): Promise<VerifiedCall> {
  const proof = parseCallAuth(call.auth);
  if (proof === undefined) throw unauthenticated();
  const { sig, ...signedAuth } = proof;
  const body = { ...signedAuth, method: call.method, params: call.params };
  const caller = await verifyProof({ kind: "call", proof, body, peer: call.peer }, options);
  return { caller, signedText: canonicalOf({ ...body, sig }, "") };
}

/** The challenge's first half is its nonce: random too, and one script judges window, revocation and repetition. */
async function verifyLogin({ auth, challenge, peer }: IncomingLogin, options: AuthenticatorOptions): Promise<Caller> {
  const login = parseLoginAuth(auth);
  if (login === undefined || login.challenge !== challenge) throw unauthenticated();
  const { sig: _sig, ...body } = login;
  const proof = { ...login, nonce: challenge.slice(0, challenge.length / 2) };
  return verifyProof({ kind: "login", proof, body, peer }, options);
}

/** A parsed proof, and the body its signature is over. */
interface Presented {
  readonly kind: Kind;
  readonly proof: Omit<CallProof, "v">;
  readonly body: object;
  readonly peer: Peer;
}

async function verifyProof({ kind, proof, body, peer }: Presented, options: AuthenticatorOptions): Promise<Caller> {
  const { identity, keyring, verifier } = options;
  assertAudience(proof.aud, identity);
  assertWindow(proof, options);
  const text = canonicalOf(body, "");
  verifier.assertRoom(1);
  assertUsable(keyring.find(proof.key), peer);
  if (!(await verifier.verify(proof.key, proof.sig, signingInput(kind, text)))) throw unauthenticated();
  // Read again: the key may have been revoked while the thread pool worked.
  const key = assertUsable(keyring.find(proof.key), peer);
  await claimNonce(proof, options.replay);
  return toCaller(key);
}

async function verifyJobSignatures(incoming: IncomingJob, options: AuthenticatorOptions): Promise<VerifiedJob> {
  const { job, peer } = incoming;
  const signatures = parseSignatures(incoming.signatures);
  if (signatures === undefined) throw unauthenticated();
  assertAudience(job.aud, options.identity);
  const text = canonicalOf(job, "params.job");
  const signers = signatures.map((entry) => entry.public_key);
  options.verifier.assertRoom(signers.length);
  readSigners(signers, incoming, options);
  const input = signingInput("job", text);
  const answers = await Promise.all(
    signatures.map(async (entry) => options.verifier.verify(entry.public_key, entry.signature, input)),
  );
  if (!answers.every(Boolean)) throw unauthenticated();
  const { caller, principals } = readSigners(signers, { job, peer }, options);
  return { text, digest: nativeDigest(input), caller: toCaller(caller), signers, principals, signatures };
}

/** All signers enrolled and alive, the caller among them and on a carrier its key allows; gives it, and who owns them. */
function readSigners(
  signers: readonly string[],
  { job, peer }: Pick<IncomingJob, "job" | "peer">,
  { keyring }: AuthenticatorOptions,
): { readonly caller: EnrolledKey; readonly principals: readonly string[] } {
  const keys = signers.map((signer) => keyring.find(signer)).filter((key) => key !== undefined);
  if (keys.length < signers.length) throw unauthenticated();
  const caller = assertUsable(
    keys.find((key) => key.key === job.caller_id),
    peer,
  );
  return { caller, principals: [...new Set(keys.map(({ principal }) => principal))] };
}

/** Enrolled, and where the key is bound to overlay nodes, carried by one of them. */
function assertUsable(key: EnrolledKey | undefined, peer: Peer): EnrolledKey {
  if (key === undefined || !isCarried(key, peer)) throw unauthenticated();
  return key;
}

function isCarried({ overlay }: EnrolledKey, { transport, node }: Peer): boolean {
  return overlay === undefined || (transport === "mycelium" && node !== undefined && overlay.includes(node));
}

function assertAudience(aud: string, identity: string): void {
  if (aud !== identity) throw new SupervisorError("wrongAudience", { data: { identity } });
}

/** The part of the window that needs no clock; `now` is judged by the store, after the signature. */
function assertWindow({ iat, exp }: Pick<CallProof, "iat" | "exp">, { now = Date.now }: AuthenticatorOptions): void {
  if (exp < iat || exp - iat > MAX_VALIDITY_SECONDS) {
    throw new SupervisorError("stale", {
      data: { now: Math.floor(now() / 1000), max_validity_seconds: MAX_VALIDITY_SECONDS },
    });
  }
}

/** Last of all: only a call that is otherwise good may use up a nonce. */
async function claimNonce({ key, nonce, iat, exp }: Presented["proof"], replay: ReplayStore): Promise<void> {
  const claim = await replay.claimNonce({ key, nonce, iat, exp });
  switch (claim.outcome) {
    case "fresh":
      return;
    case "stale":
      throw new SupervisorError("stale", { data: { now: claim.now } });
    case "replay":
      throw new SupervisorError("replay");
    case "revoked":
      throw unauthenticated();
  }
}

/** @param within where the body stands in the request, for the path of a fault. */
function canonicalOf(body: object, within: string): string {
  const canonical = canonicalText(body);
  if (canonical.ok) return canonical.text;
  const path = [within, canonical.path].filter((step) => step !== "").join(".");
  throw new SupervisorError("invalidParams", { data: { path, expected: canonical.reason } });
}

function toCaller({ key, name, principal, roles, runners }: EnrolledKey): Caller {
  return { key, name, principal, roles, runners };
}

/** One for all faults, with the data of the table: it must not say how far a forger got. */
function unauthenticated(): SupervisorError {
  return new SupervisorError("unauthenticated");
}
