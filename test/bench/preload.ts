/**
 * Fills a Redis through the admission script itself, as fast as it goes: jobs in the shape of signed ones. They are never
 * run, so one signature serves them all.
 */
import { randomBytes } from "node:crypto";

import { type Static, Type } from "typebox";
import { Check } from "typebox/schema";

import { canonicalText } from "../../src/auth/canonical-json.ts";
import { createNativeSigner } from "../../src/auth/native-verifier.ts";
import { signDocument } from "../../src/auth/signature.ts";
import { buildJob } from "../../src/client/job.ts";
import { createLog } from "../../src/log.ts";
import { admit } from "../../src/store/redis-admission.ts";
import { RedisConnection } from "../../src/store/redis-connection.ts";
import { RedisKeys } from "../../src/store/redis-keys.ts";
import { RedisScripts } from "../../src/store/redis-scripts.ts";
import type { Admission } from "../../src/store/store.ts";
import { answerQuestions, Part } from "./part.ts";
import { JobsFor, PAYLOAD } from "./signed-jobs.ts";

const Settings = Type.Object({ redisSocket: Type.String(), jobs: JobsFor });
type Settings = Static<typeof Settings>;

/** Jobs from one number to another; number by number their owners take turns. */
const Wanted = Type.Object({ from: Type.Integer(), to: Type.Integer(), owners: Type.Array(Type.String()) });
type Wanted = Static<typeof Wanted>;

/** Scripts sent and not answered. */
const IN_FLIGHT = 256;
/** Jobs of one question, so that progress can be told. */
const STEP = 10_000;
/** Whose jobs they are when the supervisor's own key signs. */
export const OWNER = "owner";

/** The id of a preloaded job: whoever knows its number can ask for it. */
export function preloadedId(number: number): string {
  return `00000000-0000-7000-8000-${number.toString(16).padStart(12, "0")}`;
}

/** What to fill, and how it is told that it goes on. */
export interface Preload {
  readonly redisSocket: string;
  readonly jobs: JobsFor;
  readonly count: number;
  readonly owners?: readonly string[];
  readonly onProgress: (done: number) => void;
}

/** Resolves with jobs a second. */
export async function preload({ count, owners = [OWNER], onProgress, ...settings }: Preload): Promise<number> {
  await using part = await Part.start("preload", settings satisfies Settings);
  const startMs = performance.now();
  for (let from = 0; from < count; from += STEP) {
    onProgress(from);
    await part.ask({ from, to: Math.min(count, from + STEP), owners: [...owners] } satisfies Wanted);
  }
  return (count * 1000) / (performance.now() - startMs);
}

/** The role `preload` of run.ts. */
export async function runPreload(settings: unknown): Promise<void> {
  if (!Check(Settings, settings)) throw new TypeError("not the settings of a preload");
  const connection = new RedisConnection({
    url: `unix://${settings.redisSocket}`,
    commandTimeoutMs: 30_000,
    log: createLog({ level: "silent", pretty: false }),
    monotonicMs: () => performance.now(),
  });
  await connection.start();
  const access = {
    connection,
    keys: new RedisKeys({ prefix: "horus", shards: 1 }),
    scripts: new RedisScripts(connection),
  };
  const template = await templateOf(settings.jobs);
  answerQuestions({ ready: true }, async (wanted) => {
    if (!Check(Wanted, wanted)) throw new TypeError("not a range of jobs");
    const numbers = Array.from({ length: wanted.to - wanted.from }, (_, index) => wanted.from + index).values();
    const lane = async (): Promise<void> => {
      for (const number of numbers) {
        const principal = wanted.owners[number % wanted.owners.length] ?? OWNER;
        const { outcome } = await admit(access, admissionOf(number, principal, template), 0);
        if (outcome !== "new") throw new Error(`job ${number} was not admitted: ${outcome}`);
      }
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
    return {};
  });
}

/** All of a job that is the same for each of them. */
interface Template {
  readonly admission: Omit<Admission, "id" | "digest" | "principal" | "createdAt" | "expiresAt">;
  readonly id: string;
  readonly lifetimeSeconds: number;
}

async function templateOf({ supervisor, seed, runner }: JobsFor): Promise<Template> {
  const signer = createNativeSigner(seed);
  const job = buildJob({ supervisor, caller: signer.publicKey, runner, payload: PAYLOAD });
  const canonical = canonicalText(job);
  if (!canonical.ok) throw new TypeError(canonical.reason);
  const { signature, digest } = await signDocument(signer, "job", job);
  const { created_at: iat, expires_at: exp, id } = job;
  const body = { v: 1, aud: supervisor, job: digest, id, queue: runner, iat, exp };
  return {
    id,
    lifetimeSeconds: exp - iat,
    admission: {
      document: canonical.text,
      signatures: JSON.stringify([{ public_key: signer.publicKey, signature }]),
      ticket: JSON.stringify({ body, public_key: supervisor, signature }),
      callerId: signer.publicKey,
      signers: [signer.publicKey],
      queue: runner,
      priority: 5,
      maxAttempts: 1,
      onLoss: "retry",
      timeoutSeconds: job.timeout,
      isFair: false,
      limits: {
        maxQueueJobs: 1e9,
        maxQueueBytes: 1e15,
        maxPrincipalJobs: 1e9,
        maxPrincipalBytes: 1e15,
        maxLifetimeSeconds: exp - iat,
      },
    },
  };
}

function admissionOf(number: number, principal: string, template: Template): Admission {
  const id = preloadedId(number);
  const createdAt = Math.floor(Date.now() / 1000);
  return {
    ...template.admission,
    id,
    document: template.admission.document.replace(template.id, id),
    ticket: template.admission.ticket.replace(template.id, id),
    digest: randomBytes(32).toString("hex"),
    principal,
    createdAt,
    expiresAt: createdAt + template.lifetimeSeconds,
  };
}
