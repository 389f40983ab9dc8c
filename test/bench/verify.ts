/** One signature through the whole verification rule against the bare library call, on the same thread pool. */
import { createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from "node:crypto";

import { createVerifier } from "../../src/auth/native-verifier.ts";
import { signingInput } from "../../src/auth/signature.ts";
import { type Comparison, compare, type Sample } from "./rounds.ts";
import type { BenchOptions } from "./system.ts";

const KEYS = 16;
/** Signed ahead and used in turn; nothing in either way remembers a signature. */
const DOCUMENTS = 512;
/** As long as the document of a short job. */
const BODY = JSON.stringify({ payload: "x".repeat(700) });

interface Signed {
  readonly publicKey: string;
  readonly signatureHex: string;
  readonly input: Uint8Array;
  /** What the bare call takes, made before the clock starts. */
  readonly key: KeyObject;
  readonly signature: Uint8Array;
}

export async function benchVerify(options: BenchOptions): Promise<Comparison> {
  const documents = signDocuments();
  const verifier = createVerifier({ crypto: "native", maxInFlight: 512 });
  return compare({
    title: "verify: one signature by the whole rule, enrolled keys",
    unit: "signatures a second",
    rounds: options.rounds,
    required: 0.9,
    subject: {
      name: "verifier",
      measure: async () =>
        measure(documents, options, async (signed) =>
          verifier.verify(signed.publicKey, signed.signatureHex, signed.input),
        ),
    },
    baseline: { name: "crypto.verify", measure: async () => measure(documents, options, verifyBare) },
  });
}

function verifyBare({ input, key, signature }: Signed): Promise<boolean> {
  return new Promise((resolve, reject) => {
    verify(null, input, key, signature, (error, isGood) => (error === null ? resolve(isGood) : reject(error)));
  });
}

function signDocuments(): readonly Signed[] {
  const pairs = Array.from({ length: KEYS }, () => generateKeyPairSync("ed25519"));
  return Array.from({ length: DOCUMENTS }, (_, index) => {
    const pair = pairs[index % KEYS];
    if (pair === undefined) throw new RangeError("no key");
    const input = signingInput("job", JSON.stringify({ body: BODY, index }));
    const signature = sign(null, input, pair.privateKey);
    const spki = pair.publicKey.export({ format: "der", type: "spki" });
    return {
      publicKey: `ed25519:${spki.subarray(-32).toString("hex")}`,
      signatureHex: signature.toString("hex"),
      input,
      key: createPublicKey({ key: spki, format: "der", type: "spki" }),
      signature,
    };
  });
}

async function measure(
  documents: readonly Signed[],
  { connections, seconds }: BenchOptions,
  check: (signed: Signed) => Promise<boolean>,
): Promise<Sample> {
  let count = 0;
  const start = performance.now();
  const end = start + seconds * 1000;
  const work = async (): Promise<void> => {
    while (performance.now() < end) {
      const signed = documents[count++ % DOCUMENTS];
      if (signed === undefined || !(await check(signed))) throw new Error("a good signature was refused");
    }
  };
  await Promise.all(Array.from({ length: connections }, work));
  return { perSecond: (count * 1000) / (performance.now() - start) };
}
