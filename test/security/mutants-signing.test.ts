/**
 * Each check of signatures, credentials, calls, logins and keys (spec: signing) × the attack that only it stops: the
 * program refuses it, and a copy of the source without that check lets it through.
 */
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { VerifiedCall } from "../../src/auth/authenticate.ts";
import type { EnrolledKey } from "../../src/auth/keyring.ts";
import { signDocument } from "../../src/auth/signature.ts";
import type { JobDocument, SignatureEntry } from "../../src/rpc/schema.ts";
import type { Peer } from "../../src/rpc/transport.ts";
import type { NonceOutcome } from "../../src/store/store.ts";
import * as whole from "../support/build-under-test.ts";
import { aConnection } from "../support/dispatcher.ts";
import { type Build, describeMutants, isTaken, type MutantRow } from "../support/mutants.ts";
import { aSignedCall, aSignedJob, aSigner, anEnrolledKey, type CallWishes, VECTORS } from "../support/signing.ts";

const { caller, approver, supervisorA, supervisorB } = VECTORS.keys;
const HTTP: Peer = { transport: "http", address: "127.0.0.1" };
const NODE = `x25519:${"ab".repeat(32)}`;
const NOW = 1_790_000_030;

interface Stage {
  readonly keys?: readonly EnrolledKey[];
  readonly nonce?: NonceOutcome;
  readonly peer?: Peer;
  /** Happens while a signature is checked. */
  readonly during?: (keyring: InstanceType<Build["Keyring"]>) => void;
}

const KEYS = [anEnrolledKey(), anEnrolledKey({ name: "boss", principal: "boss", key: approver, roles: [] })];

function anAuthenticator(build: Build, { keys = KEYS, nonce = { outcome: "fresh" }, during }: Stage) {
  const keyring = new build.Keyring(keys, () => NOW * 1000);
  const native = build.createVerifier({ crypto: "native", maxInFlight: 100 });
  return build.createAuthenticator({
    identity: supervisorA,
    keyring,
    verifier: {
      assertRoom: () => undefined,
      verify: async (...asked) => {
        const answer = await native.verify(...asked);
        during?.(keyring);
        return answer;
      },
    },
    replay: { claimNonce: async () => nonce },
    now: () => NOW * 1000,
  });
}

async function call(build: Build, wishes: CallWishes, stage: Stage = {}, changes: object = {}): Promise<VerifiedCall> {
  const signed = await aSignedCall(wishes);
  return anAuthenticator(build, stage).authenticateCall({ ...signed, peer: stage.peer ?? HTTP, ...changes });
}

async function job(
  build: Build,
  sent: { readonly job: JobDocument; readonly signatures: readonly SignatureEntry[] },
  stage: Stage = {},
): Promise<unknown> {
  return anAuthenticator(build, stage).verifyJobSignatures({ ...sent, peer: stage.peer ?? HTTP });
}

/** Signs other members than are sent. */
async function boundLess(build: Build, without: "method" | "params"): Promise<unknown> {
  const { method, params, auth } = await aSignedCall();
  const { sig: _sig, ...signed } = auth;
  const body = without === "method" ? { ...signed, params } : { ...signed, method };
  const { signature } = await signDocument(aSigner(), "call", body);
  return anAuthenticator(build, {}).authenticateCall({
    method,
    params,
    auth: { ...signed, sig: signature },
    peer: HTTP,
  });
}

function invalid(name: string): { readonly key: string; readonly sig: string; readonly input: Buffer } {
  const { key = "", sig = "", pae_hex: input = "" } = VECTORS.invalid.find((vector) => vector.name === name) ?? {};
  return { key, sig, input: Buffer.from(input, "hex") };
}

async function verifies(build: Build, name: string): Promise<boolean> {
  const { key, sig, input } = invalid(name);
  return build.createVerifier({ crypto: "native", maxInFlight: 1 }).verify(key, sig, input);
}

async function withSignature(build: Build, change: (sig: string) => string): Promise<boolean> {
  const { auth, ...signed } = await aSignedCall();
  const sent = { ...signed, auth: { ...auth, sig: change(auth.sig) }, peer: HTTP };
  return isTaken(anAuthenticator(build, {}).authenticateCall(sent));
}

/** A login over a challenge, after which `then` goes on. */
async function login(
  build: Build,
  { challenge, lateMs = 0, again = false }: { challenge?: string; lateMs?: number; again?: boolean },
): Promise<boolean> {
  let nowMs = 0;
  const sessions = new build.Sessions({
    authenticator: anAuthenticator(build, {}),
    revocations: { isRevoked: async () => false },
    lifetimeMs: 1000,
    now: () => NOW * 1000,
    monotonicMs: () => nowMs,
  });
  const connection = aConnection({ peer: { transport: "websocket" }, session: {} });
  const given = sessions.challenge(connection).challenge;
  const body = { v: 1, aud: supervisorA, key: caller, challenge: challenge ?? given, iat: NOW, exp: NOW + 60 };
  const { signature } = await signDocument(aSigner(), "login", body);
  const proof = { ...body, sig: signature };
  nowMs = lateMs;
  const first = await isTaken(sessions.verify(connection, proof));
  return again ? isTaken(sessions.verify(connection, proof)) : first;
}

/** Is the connection bound still? */
async function bound(build: Build, { afterMs, revoked }: { afterMs: number; revoked: boolean }): Promise<boolean> {
  let nowMs = 0;
  const sessions = new build.Sessions({
    authenticator: anAuthenticator(build, {}),
    revocations: { isRevoked: async () => revoked },
    lifetimeMs: 1000,
    now: () => NOW * 1000,
    monotonicMs: () => nowMs,
  });
  const connection = aConnection({ peer: { transport: "websocket" }, session: {} });
  sessions.bind(connection, caller);
  nowMs = afterMs;
  return (await sessions.find(connection)) !== undefined;
}

function table(name: string, key: string): string {
  return `[[key]]\nname = "${name}"\nprincipal = "${name}"\nkey = "${key}"\nroles = []\n`;
}

function parses(build: Build, more: string, key: string = caller): boolean {
  return build.parseKeyring(`${table("a", approver)}${table("b", key)}${more}\n`).ok;
}

async function readsOpenFile(build: Build): Promise<boolean> {
  const directory = await mkdtemp(join(tmpdir(), "horus-open-"));
  const path = join(directory, "file");
  await writeFile(path, "x");
  await chmod(path, 0o620);
  const text = await build.readTrustedText(path).catch(() => undefined);
  await rm(directory, { recursive: true });
  return text === "x";
}

const seventeen = Array.from({ length: 17 }, (_, index) => ({
  public_key: `ed25519:${index.toString(16).padStart(64, "0")}`,
  signature: "0".repeat(128),
}));

const SIGNATURE = "auth/signature.ts";
const CREDENTIAL = "auth/credential.ts";
const CALLS = "auth/authenticate.ts";
const SESSION = "auth/session.ts";
const TOML = "auth/keyring-toml.ts";

const ROWS: readonly MutantRow[] = [
  [
    "a signature is 64 bytes and no more",
    { file: SIGNATURE, from: "/^[0-9a-f]{128}$/;", to: "/^[0-9a-f]{128}/;" },
    async (build) => withSignature(build, (sig) => `${sig}  `),
  ],
  [
    "R is none of the 14 encodings of small order",
    { file: SIGNATURE, from: "|| SMALL_ORDER_R.has(signatureHex.slice(0, 64))", to: "" },
    async (build) => verifies(build, "R_identity"),
  ],
  [
    "S < L, before either library is asked",
    { file: SIGNATURE, from: "return reverseHex(signatureHex.slice(64)) < ORDER_HEX;", to: "return true;" },
    async (build) => build.isCheckedSignature(invalid("S_plus_L").sig),
  ],
  // That a key is in canonical encoding can not be shown by a mutant: each of the 38 encodings of y ≥ p is no point, of
  // small order or not torsion free, so that the other checks refuse it as well (`unit/auth/signature`).
  [
    "a key is on the curve",
    {
      file: SIGNATURE,
      from: '    // Not a point: the answer is "no key", and the text of a library adds nothing.\n    return undefined;',
      to: "    return Point.BASE;",
    },
    async (build) => parses(build, "", `ed25519:${"02".padEnd(64, "0")}`),
  ],
  [
    "a key is not of small order",
    { file: SIGNATURE, from: " && !point.isSmallOrder()", to: "" },
    async (build) => parses(build, "", `ed25519:${"01".padEnd(64, "0")}`),
  ],
  [
    "a key is torsion free",
    { file: SIGNATURE, from: " && point.isTorsionFree()", to: "" },
    async (build) => verifies(build, "mixed_order_key"),
  ],
  [
    "the kind is part of what is signed",
    { file: SIGNATURE, from: "application/vnd.horus.${kind}.v1+json", to: "application/vnd.horus.v1+json" },
    async (build) => {
      const { auth, method, params } = await aSignedCall();
      const { sig: _sig, ...signed } = auth;
      const body = { ...signed, method, params };
      // Signed as the mutant does, for what it takes to be a runner's registration.
      const text = JSON.stringify(Object.fromEntries(Object.entries(body).toSorted(([a], [b]) => (a < b ? -1 : 1))));
      const type = "application/vnd.horus.v1+json";
      const sig = await aSigner().sign(Buffer.from(`DSSEv1 ${type.length} ${type} ${text.length} ${text}`));
      return isTaken(
        anAuthenticator(build, {}).authenticateCall({ method, params, auth: { ...signed, sig }, peer: HTTP }),
      );
    },
  ],
  [
    "a text is canonical, and so has one spelling",
    { file: "auth/canonical-json.ts", from: "written.ok && written.text === text", to: "written.ok" },
    async (build) => build.isCanonicalText('{"a":1,"a":1}'),
  ],
  [
    "at most 16 signatures",
    { file: CREDENTIAL, from: " || value.length > MAX_SIGNATURES", to: "" },
    async (build) => build.parseSignatures(seventeen) !== undefined,
  ],
  [
    "at least one signature",
    { file: CREDENTIAL, from: " || value.length === 0", to: "" },
    async (build) => build.parseSignatures([]) !== undefined,
  ],
  [
    "signatures by distinct keys",
    { file: CREDENTIAL, from: " || keys.has(entry.public_key)", to: "" },
    async (build) => isTaken(job(build, await aSignedJob({}, [aSigner(), aSigner()]))),
  ],
  [
    "members of a call's credential are exact",
    {
      file: CREDENTIAL,
      from: "if (!isObject(value) || Object.keys(value).length !== 7) return undefined;\n  const { v, aud, key, iat, exp, nonce, sig }",
      to: "if (!isObject(value)) return undefined;\n  const { v, aud, key, iat, exp, nonce, sig }",
    },
    async (build) => isTaken(call(build, {}, {}, { auth: { ...(await aSignedCall()).auth, admin: true } })),
  ],
  [
    "every signature is good",
    { file: CALLS, from: "answers.every(Boolean)", to: "answers.some(Boolean)" },
    async (build) => {
      const { job: document, signatures } = await aSignedJob({}, [aSigner(), aSigner("approver")]);
      const [first, second] = signatures;
      if (first === undefined || second === undefined) return false;
      return isTaken(job(build, { job: document, signatures: [first, { ...second, signature: first.signature }] }));
    },
  ],
  [
    "every signer is enrolled",
    { file: CALLS, from: "if (keys.length < signers.length) throw unauthenticated();", to: "" },
    async (build) => isTaken(job(build, await aSignedJob({}, [aSigner(), aSigner("runner")]))),
  ],
  [
    "the caller is among the signers",
    { file: CALLS, from: "keys.find((key) => key.key === job.caller_id)", to: "keys[0]" },
    async (build) => isTaken(job(build, await aSignedJob({ caller_id: caller }, [aSigner("approver")]))),
  ],
  [
    "the audience is ours",
    { file: CALLS, from: "if (aud !== identity) throw", to: "if (aud === undefined) throw" },
    async (build) =>
      (await isTaken(call(build, { auth: { aud: supervisorB } }))) &&
      isTaken(job(build, await aSignedJob({ aud: supervisorB }))),
  ],
  [
    "the method is bound",
    {
      file: CALLS,
      from: "{ ...signedAuth, method: call.method, params: call.params }",
      to: "{ ...signedAuth, params: call.params }",
    },
    async (build) => isTaken(boundLess(build, "method")),
  ],
  [
    "the params are bound",
    {
      file: CALLS,
      from: "{ ...signedAuth, method: call.method, params: call.params }",
      to: "{ ...signedAuth, method: call.method }",
    },
    async (build) => isTaken(boundLess(build, "params")),
  ],
  [
    "a call does not end before it begins",
    { file: CALLS, from: "exp < iat || ", to: "" },
    async (build) => isTaken(call(build, { auth: { iat: NOW, exp: NOW - 1 } })),
  ],
  [
    "a call is good for 600 s at most",
    { file: CALLS, from: " || exp - iat > MAX_VALIDITY_SECONDS", to: "" },
    async (build) => isTaken(call(build, { auth: { iat: NOW, exp: NOW + 601 } })),
  ],
  ...(["stale", "replay", "revoked"] as const).map((outcome): MutantRow => {
    const from =
      outcome === "revoked" ? 'case "revoked":\n      throw unauthenticated();' : `case "${outcome}":\n      throw`;
    return [
      `what the replay guard says counts: ${outcome}`,
      { file: CALLS, from, to: outcome === "revoked" ? "" : `case "${outcome}":\n      return;\n      throw` },
      async (build) => isTaken(call(build, {}, { nonce: outcome === "stale" ? { outcome, now: NOW } : { outcome } })),
    ];
  }),
  [
    "the key is looked at again after the await",
    {
      file: CALLS,
      from: [
        "  assertUsable(keyring.find(proof.key), peer);",
        "  if (!(await verifier.verify(proof.key, proof.sig, signingInput(kind, text)))) throw unauthenticated();",
        "  // Read again: the key may have been revoked while the thread pool worked.",
        "  const key = assertUsable(keyring.find(proof.key), peer);",
      ].join("\n"),
      to: [
        "  const key = assertUsable(keyring.find(proof.key), peer);",
        "  if (!(await verifier.verify(proof.key, proof.sig, signingInput(kind, text)))) throw unauthenticated();",
      ].join("\n"),
    },
    async (build) => isTaken(call(build, {}, { during: (keyring) => keyring.replace([]) })),
  ],
  [
    "a key with overlay counts over its nodes alone",
    { file: CALLS, from: "return overlay === undefined || (", to: "return true || (" },
    async (build) => isTaken(call(build, {}, { keys: [anEnrolledKey({ overlay: [NODE] })] })),
  ],
  [
    "a key with overlay does not count over another node",
    { file: CALLS, from: " && overlay.includes(node)", to: "" },
    async (build) =>
      isTaken(
        call(
          build,
          {},
          {
            keys: [anEnrolledKey({ overlay: [NODE] })],
            peer: { transport: "mycelium", node: `x25519:${"cd".repeat(32)}` },
          },
        ),
      ),
  ],
  [
    "a login signs the challenge of its connection",
    { file: CALLS, from: " || login.challenge !== challenge", to: " || challenge === undefined" },
    async (build) => login(build, { challenge: "0".repeat(64) }),
  ],
  [
    "a challenge is good once",
    { file: SESSION, from: "    session.challenge = undefined;\n", to: "" },
    async (build) => login(build, { again: true }),
  ],
  [
    "a challenge is good for a minute",
    { file: SESSION, from: " || this.#options.monotonicMs() > challenge.endMs", to: "" },
    async (build) => login(build, { lateMs: 60_001 }),
  ],
  [
    "a login ends",
    { file: SESSION, from: "this.#options.monotonicMs() < endMs ?", to: "endMs > 0 ?" },
    async (build) => bound(build, { afterMs: 1001, revoked: false }),
  ],
  [
    "a login ends with a revocation elsewhere",
    { file: SESSION, from: "if (await this.#options.revocations.isRevoked(key)) return undefined;", to: "" },
    async (build) => bound(build, { afterMs: 1, revoked: true }),
  ],
  [
    "revoked_at revokes",
    { file: "auth/keyring.ts", from: "key.revokedAtMs === undefined && (key.notAfterMs", to: "(key.notAfterMs" },
    async (build) => isTaken(call(build, {}, { keys: [anEnrolledKey({ revokedAtMs: 1 })] })),
  ],
  [
    "not_after ends a key",
    { file: "auth/keyring.ts", from: "|| this.#now() <= key.notAfterMs", to: "|| true" },
    async (build) => isTaken(call(build, {}, { keys: [anEnrolledKey({ notAfterMs: NOW * 1000 - 1 })] })),
  ],
  [
    "an unknown field of keys.toml refuses the file",
    {
      file: TOML,
      from: "if (unknown !== undefined) this.#refuse(unknown,",
      to: "if (unknown === 0) this.#refuse(unknown,",
    },
    async (build) => parses(build, "rnuners = []"),
  ],
  [
    "an unknown role refuses the file",
    {
      file: TOML,
      from: 'return role ?? this.#refuse("roles",',
      to: 'return role ?? ROLES[0] ?? this.#refuse("roles",',
    },
    async (build) => parses(build, `[[key]]\nname = "c"\nprincipal = "c"\nkey = "${supervisorA}"\nroles = ["root"]`),
  ],
  [
    "a key twice refuses the file",
    { file: TOML, from: "    assertUnique(keys);\n", to: "" },
    async (build) => parses(build, "", approver),
  ],
  [
    "a file that others may write to is refused",
    { file: "auth/trusted-file.ts", from: "(mode & FOREIGN_WRITE) !== 0", to: "mode === 0" },
    readsOpenFile,
  ],
  [
    "an approval counts once a principal",
    {
      file: "auth/policy.ts",
      from: "new Set(signers.filter((principal) => principals.includes(principal)))",
      to: "{ size: signers.length }",
    },
    async (build) => build.missingApprovals({ principals: ["ops", "security"], atLeast: 2 }, ["ops", "ops"]) === 0,
  ],
];

describeMutants(ROWS, async () => [
  await isTaken(call(whole, {})),
  await isTaken(job(whole, await aSignedJob({}, [aSigner(), aSigner("approver")]))),
  await login(whole, {}),
  await bound(whole, { afterMs: 1, revoked: false }),
  parses(whole, "runners = []"),
]);
