/**
 * Checks × the attack that proves each: the whole build refuses every attack, and the build with one check taken out (by
 * another injected part, the source as it is) lets through exactly the attacks that stand beside it.
 */
import { createPublicKey, verify as verifyBytes } from "node:crypto";

import { describe, expect, test } from "vitest";

import { type AuthenticatorOptions, createAuthenticator } from "../../src/auth/authenticate.ts";
import { type EnrolledKey, Keyring } from "../../src/auth/keyring.ts";
import { createVerifier, type Verifier } from "../../src/auth/native-verifier.ts";
import { type Approvals, type Caller, isGranted } from "../../src/auth/policy.ts";
import { isCheckedKey, isCheckedSignature, type Kind, signDocument, signingInput } from "../../src/auth/signature.ts";
import { SupervisorError } from "../../src/errors.ts";
import { createSubmit, type JobLimits } from "../../src/jobs/submit.ts";
import type { JobDocument, TicketDocument } from "../../src/rpc/schema.ts";
import type { Peer } from "../../src/rpc/transport.ts";
import { type AllowList } from "../../src/runner/allow-list.ts";
import { createJobVerifier, type JobVerifierOptions } from "../../src/runner/job-verifier.ts";
import { aSignedCall, aSignedJob, aSigner, anEnrolledKey, VECTORS } from "../support/signing.ts";

const { caller, approver, supervisorA, supervisorB, runner } = VECTORS.keys;
const NODE = `x25519:${"ab".repeat(32)}`;
const HTTP: Peer = { transport: "http", address: "127.0.0.1" };
const NOW = 1_790_000_030;
const KINDS: readonly Kind[] = ["job", "call", "login", "runner", "ticket", "receipt"];
const LIMITS: JobLimits = {
  maxPayloadBytes: 1000,
  maxDocumentBytes: 5000,
  maxEnvValueBytes: 1000,
  maxLifetimeSeconds: 86_400,
  maxQueueJobs: 10,
  maxQueueBytes: 10_000,
  maxPrincipalJobs: 10,
  maxPrincipalBytes: 10_000,
};

/** The parts of a build; each test takes one of them out. */
interface Parts {
  readonly identity: string;
  readonly find: (keyring: Keyring, key: string) => EnrolledKey | undefined;
  readonly verify: Verifier["verify"];
  readonly claimNonce: AuthenticatorOptions["replay"]["claimNonce"];
  readonly requirements: readonly Approvals[];
  readonly limits: JobLimits;
  readonly keyLimit: (caller: Caller) => number;
  readonly runner: Partial<JobVerifierOptions>;
}

const native = createVerifier({ crypto: "native", maxInFlight: 1000 });

/** Redis' script in a few lines: revoked keys are not part of it here. */
function aReplayGuard(): Parts["claimNonce"] {
  const used = new Set<string>();
  return async ({ key, nonce, iat, exp }) => {
    if (iat > NOW + 30 || NOW > exp + 30) return { outcome: "stale", now: NOW };
    if (used.has(key + nonce)) return { outcome: "replay" };
    used.add(key + nonce);
    return { outcome: "fresh" };
  };
}

function wholeBuild(): Parts {
  return {
    identity: supervisorA,
    find: (keyring, key) => keyring.find(key),
    verify: async (...asked) => native.verify(...asked),
    claimNonce: aReplayGuard(),
    requirements: [{ principals: ["boss"], atLeast: 1 }],
    limits: LIMITS,
    keyLimit: () => 0,
    runner: {},
  };
}

const alice = anEnrolledKey();
const boss = anEnrolledKey({ name: "boss", principal: "boss", key: approver, roles: [] });
const bound = anEnrolledKey({ name: "bound", key: supervisorB, overlay: [NODE] });
const revoked = anEnrolledKey({ name: "revoked", key: runner, revokedAtMs: 1 });

/** Half of the keyring's work is done by what the build asks; `during` runs while a signature is checked. */
function anAuthenticator(parts: Parts, during?: (keyring: Keyring) => void): ReturnType<typeof createAuthenticator> {
  const keyring = new Keyring([alice, boss, bound, revoked], () => 0);
  return createAuthenticator({
    identity: parts.identity,
    keyring: { find: (key) => parts.find(keyring, key) },
    verifier: {
      assertRoom: () => undefined,
      verify: async (...asked) => {
        const answer = await parts.verify(...asked);
        during?.(keyring);
        return answer;
      },
    },
    replay: { claimNonce: parts.claimNonce },
    now: () => NOW * 1000,
  });
}

async function isTaken(work: Promise<unknown>): Promise<boolean> {
  try {
    await work;
    return true;
  } catch (error) {
    if (error instanceof SupervisorError) return false;
    throw error;
  }
}

async function isAdmitted(parts: Parts, { job, signatures }: Awaited<ReturnType<typeof aSignedJob>>): Promise<boolean> {
  const authenticator = anAuthenticator(parts);
  const submit = createSubmit({
    identity: parts.identity,
    signer: aSigner("supervisorA"),
    jobs: { admit: async () => ({ outcome: "new", state: "pending" }) },
    runners: { isServed: async () => true },
    limits: parts.limits,
    verifySignatures: async (incoming) => authenticator.verifyJobSignatures(incoming),
    requirementsFor: (name) => (isGranted(["gpu-*"], name) ? parts.requirements : []),
    isFair: () => false,
    keyLimit: (by) => ({ waitMs: parts.keyLimit(by), giveBack: () => undefined }),
    durability: () => "memory",
    now: () => NOW * 1000,
  });
  return isTaken(submit({ job, signatures, peer: HTTP, verified: () => undefined }));
}

async function call(parts: Parts, wishes: Parameters<typeof aSignedCall>[0], changes: object = {}): Promise<boolean> {
  const signed = await aSignedCall(wishes);
  return isTaken(anAuthenticator(parts).authenticateCall({ ...signed, peer: HTTP, ...changes }));
}

/** As it would lie in Redis, for the runner `build-1` in the group `build`. */
async function isRun(
  parts: Parts,
  wanted: Partial<JobDocument> = {},
  {
    ticket,
    ticketSigner = aSigner("supervisorA"),
    queue,
  }: {
    readonly ticket?: Partial<TicketDocument>;
    readonly ticketSigner?: ReturnType<typeof aSigner>;
    readonly queue?: string;
  } = {},
): Promise<boolean> {
  const { job, signatures } = await aSignedJob(wanted);
  const { text, digest } = await signDocument(aSigner(), "job", job);
  const { id, expires_at: exp } = job;
  const body = { v: 1, aud: supervisorA, job: digest, id, queue: job.runner, iat: NOW, exp, ...ticket } as const;
  const { signature } = await signDocument(ticketSigner, "ticket", body);
  const allowList: AllowList = new Map([[caller, "alice"]]);
  const verifier = createJobVerifier({
    supervisor: supervisorA,
    queues: ["build-1", "build"],
    verifier: { verify: parts.verify },
    allowList,
    now: () => NOW * 1000,
    ...parts.runner,
  });
  const verdict = await verifier.verify({
    lease: { id, attempt: 1, token: "t" },
    isCancelling: false,
    queue: queue ?? job.runner,
    document: text,
    signatures: JSON.stringify(signatures),
    ticket: JSON.stringify({ body, public_key: ticketSigner.publicKey, signature }),
  });
  return verdict.ok;
}

const SMALL_ORDER = VECTORS.invalid.filter(
  ({ key, pae_hex: input, sig }) => key !== undefined && input !== undefined && sig !== undefined,
);

/** Is one of the vectors that only this half of the verification rule refuses taken? */
async function vectorsTaken(parts: Parts, isOf: (key: string, signature: string) => boolean): Promise<boolean> {
  const answers = SMALL_ORDER.filter(({ key = "", sig = "" }) => isOf(key, sig)).map(
    async ({ key = "", sig = "", pae_hex: input = "" }) => parts.verify(key, sig, Buffer.from(input, "hex")),
  );
  return (await Promise.all(answers)).includes(true);
}

/** Each gives true when the build lets it through. */
const ATTACKS = {
  "a changed payload": async (parts: Parts) => {
    const { job, signatures } = await aSignedJob();
    return isAdmitted(parts, { job: { ...job, payload: "evil" }, signatures });
  },
  "another method": async (parts: Parts) => call(parts, {}, { method: "delete_job" }),
  "a signature of another kind": async (parts: Parts) => {
    const signed = await aSignedCall();
    const { sig: _sig, ...body } = signed.auth;
    const { signature } = await signDocument(aSigner(), "runner", {
      ...body,
      method: signed.method,
      params: signed.params,
    });
    return call(parts, {}, { auth: { ...signed.auth, sig: signature } });
  },
  "a stranger's job": async (parts: Parts) =>
    isAdmitted(parts, await aSignedJob({ caller_id: supervisorA }, [aSigner("supervisorA")])),
  "a revoked key's call": async (parts: Parts) => call(parts, { signer: aSigner("runner") }),
  "a key revoked while its signature was checked": async (parts: Parts) => {
    const authenticator = anAuthenticator(parts, (keyring) => keyring.replace([boss]));
    return isTaken(authenticator.authenticateCall({ ...(await aSignedCall()), peer: HTTP }));
  },
  "a key bound to the overlay, over HTTP": async (parts: Parts) => call(parts, { signer: aSigner("supervisorB") }),
  "a call for another supervisor": async (parts: Parts) => call(parts, { auth: { aud: supervisorB } }),
  "the same call twice": async (parts: Parts) => (await call(parts, {})) && (await call(parts, {})),
  "a call from the past": async (parts: Parts) => call(parts, { auth: { iat: NOW - 200, exp: NOW - 31 } }),
  "a call from the future": async (parts: Parts) => call(parts, { auth: { iat: NOW + 31, exp: NOW + 100 } }),
  "a job without its approval": async (parts: Parts) => isAdmitted(parts, await aSignedJob({ runner: "gpu-1" })),
  "a job beyond the key's rate": async (parts: Parts) =>
    isAdmitted({ ...parts, keyLimit: parts.keyLimit === noLimit ? noLimit : () => 1 }, await aSignedJob()),
  "a job that lives too long": async (parts: Parts) =>
    isAdmitted(parts, await aSignedJob({ created_at: NOW, expires_at: NOW + 86_401 })),
  "a payload that is too large": async (parts: Parts) =>
    isAdmitted(parts, await aSignedJob({ payload: "x".repeat(1001) })),
  "a job moved to this runner's queue": async (parts: Parts) => isRun(parts, { runner: "gpu-1" }),
  "a caller that is not on the runner's allow-list": async (parts: Parts) =>
    isRun(parts, {}, {}).then(async (ran) =>
      ran ? isRun({ ...parts, runner: { allowList: new Map([[approver, "boss"]]), ...parts.runner } }) : false,
    ),
  "an expired job": async (parts: Parts) => isRun(parts, { created_at: NOW - 900, expires_at: NOW - 31 }),
  "another supervisor's ticket": async (parts: Parts) =>
    isRun(parts, { aud: supervisorB }, { ticket: { aud: supervisorB }, ticketSigner: aSigner("supervisorB") }),
  "a ticket for other content": async (parts: Parts) => isRun(parts, {}, { ticket: { job: "0".repeat(64) } }),
  "a key of small order": async (parts: Parts) => vectorsTaken(parts, (key) => !isCheckedKey(key)),
  "R of small order": async (parts: Parts) =>
    vectorsTaken(parts, (key, signature) => isCheckedKey(key) && !isCheckedSignature(signature)),
} as const;

type Attack = keyof typeof ATTACKS;

const noLimit = (): number => 0;

/** OpenSSL as it is, with the gates that are wished for. */
function openssl(isGood: (key: string, signature: string) => boolean): Verifier["verify"] {
  return async (key, signature, input) => {
    if (!isGood(key, signature)) return false;
    const der = Buffer.from(`302a300506032b6570032100${key.slice("ed25519:".length)}`, "hex");
    try {
      return verifyBytes(
        null,
        input,
        createPublicKey({ key: der, format: "der", type: "spki" }),
        Buffer.from(signature, "hex"),
      );
    } catch {
      return false;
    }
  };
}

/** A signature counts whatever it was made for. */
const anyKind: Verifier["verify"] = async (key, signature, input) => {
  const text = Buffer.from(input)
    .toString()
    .replace(/^DSSEv1 \d+ \S+ \d+ /u, "");
  const answers = KINDS.map(async (kind) => native.verify(key, signature, signingInput(kind, text)));
  return (await Promise.all(answers)).includes(true);
};

/** What is taken out, and the attacks that show it: more than one where the check stands for more than one thing. */
const CHECKS: readonly (readonly [string, (whole: Parts) => Partial<Parts>, readonly Attack[]])[] = [
  [
    "the signature",
    () => ({ verify: async () => true }),
    ["a changed payload", "another method", "a signature of another kind", "a key of small order", "R of small order"],
  ],
  ["the kind in what is signed", () => ({ verify: anyKind }), ["a signature of another kind"]],
  [
    "the key's checks",
    () => ({ verify: openssl((_key, signature) => isCheckedSignature(signature)) }),
    ["a key of small order"],
  ],
  ["the list of R", () => ({ verify: openssl((key) => isCheckedKey(key)) }), ["R of small order"]],
  [
    "enrolment",
    () => ({ find: (keyring, key) => keyring.find(key) ?? { ...alice, key } }),
    ["a stranger's job", "a revoked key's call", "a key revoked while its signature was checked"],
  ],
  [
    "revocation",
    () => ({ find: (keyring, key) => keyring.all().find((entry) => entry.key === key) }),
    ["a revoked key's call"],
  ],
  [
    "the second look after the await",
    () => {
      const first = new Map<string, EnrolledKey | undefined>();
      return {
        find: (keyring, key) => {
          if (!first.has(key)) first.set(key, keyring.find(key));
          return first.get(key);
        },
      };
    },
    ["a key revoked while its signature was checked"],
  ],
  [
    "the overlay node",
    () => ({
      find: (keyring, key) => {
        const { overlay: _overlay, ...entry } = keyring.find(key) ?? { ...alice, key: "" };
        return entry.key === "" ? undefined : entry;
      },
    }),
    ["a key bound to the overlay, over HTTP"],
  ],
  ["the replay guard", () => ({ claimNonce: async (asked) => aReplayGuard()(asked) }), ["the same call twice"]],
  [
    "the window",
    () => {
      const guard = aReplayGuard();
      return { claimNonce: async (asked) => guard({ ...asked, iat: NOW, exp: NOW }) };
    },
    ["a call from the past", "a call from the future"],
  ],
  ["approvals", () => ({ requirements: [] }), ["a job without its approval"]],
  ["the key's rate", () => ({ keyLimit: noLimit }), ["a job beyond the key's rate"]],
  ["the longest life", () => ({ limits: { ...LIMITS, maxLifetimeSeconds: 1e9 } }), ["a job that lives too long"]],
  ["the largest payload", () => ({ limits: { ...LIMITS, maxPayloadBytes: 1e9 } }), ["a payload that is too large"]],
  ["the runner's queues", () => ({ runner: { queues: ["gpu-1", "build"] } }), ["a job moved to this runner's queue"]],
  [
    "the runner's allow-list",
    () => ({ runner: { allowList: new Map([[caller, "alice"]]) } }),
    ["a caller that is not on the runner's allow-list"],
  ],
  ["the runner's clock", () => ({ runner: { now: () => 0 } }), ["an expired job"]],
];

async function letsThrough(parts: () => Parts): Promise<readonly Attack[]> {
  const names = Object.keys(ATTACKS).filter((name): name is Attack => name in ATTACKS);
  const passed = await Promise.all(names.map(async (name) => ATTACKS[name](parts())));
  return names.filter((_, index) => passed[index] === true);
}

describe("the whole build", () => {
  test("refuses every attack", async () => {
    await expect(letsThrough(wholeBuild)).resolves.toEqual([]);
  });

  test("takes what is good, so that its refusals mean something", async () => {
    const parts = wholeBuild();

    expect(await call(parts, {})).toBe(true);
    expect(await isAdmitted(parts, await aSignedJob())).toBe(true);
    expect(await isAdmitted(parts, await aSignedJob({ runner: "gpu-1" }, [aSigner(), aSigner("approver")]))).toBe(true);
    expect(await isRun(parts)).toBe(true);
  });
});

describe("the build without one check", () => {
  test.each(CHECKS)("%s: lets exactly these through", async (_check, without, attacks) => {
    const through = await letsThrough(() => {
      const whole = wholeBuild();
      return { ...whole, ...without(whole) };
    });

    expect(through.toSorted()).toEqual([...attacks].toSorted());
  });

  test("each attack but those on the pinned key and the ticket's content is shown by a check that can be taken out", () => {
    const shown = new Set(CHECKS.flatMap(([, , attacks]) => attacks));

    expect(Object.keys(ATTACKS).filter((name) => ![...shown].some((each) => each === name))).toEqual([
      "a call for another supervisor",
      "another supervisor's ticket",
      "a ticket for other content",
    ]);
  });
});
