/** `supervisor cosign`: shows what a signed job would do, and adds a signature once a person agreed. */
import { MAX_SIGNATURES } from "../../src/auth/credential.ts";
import { readSeed } from "../../src/auth/key-file.ts";
import { loadKeyring } from "../../src/auth/keyring-file.ts";
import { createNativeSigner } from "../../src/auth/native-verifier.ts";
import { coSignJob, type SignedJob } from "../../src/client/job.ts";
import { dataPaths } from "../../src/data-directory.ts";
import { type Command, type CommandInput, UsageError } from "../command.ts";
import { CONFIG_OPTION, configOf } from "../config.ts";
import { badSigners, jobWords } from "../job-words.ts";
import { readSignedJob, signedJobText, writeSignedJob } from "../signed-job.ts";

export const cosign: Command = {
  options: [
    { flag: "--key <file>", description: "Signing key; the data directory's owner.key unless told" },
    { flag: "--yes", description: "Sign without asking; for scripts that have looked at the job themselves" },
    { flag: "--full", description: "Show the whole payload, and the values of the environment" },
    {
      flag: "--out <file>",
      description: "Where the signed job goes; the same file unless told, - for standard output",
    },
    { flag: "--data-dir <dir>", description: "Data directory", default: "~/.local/share/horus-supervisor" },
    CONFIG_OPTION,
  ],
  examples: ["supervisor cosign deploy.job", "supervisor cosign deploy.job --key ops.key --yes"],
  async run(input) {
    const { positionals, flags, terminal } = input;
    const [path = ""] = positionals;
    const { data_dir: directory } = await configOf(flags, terminal);
    const paths = dataPaths(directory);
    const signed = await readSignedJob(path, terminal);
    const names = await knownNames(paths.keyring);
    const words = jobWords(signed, { now: Date.now(), isFull: flags.has("full"), nameOf: (key) => names.get(key) });
    for (const line of words) terminal.err(`${line}\n`);
    assertWorthSigning(signed, path);
    const signer = createNativeSigner(await readSeed(flags.text("key") ?? paths.owner));
    if (signed.signatures.some((entry) => entry.public_key === signer.publicKey)) {
      terminal.err(`${signer.publicKey} has signed it already; nothing was changed.\n`);
      return 0;
    }
    if (!(await isAgreed(input, signer.publicKey))) {
      terminal.err("Not signed; nothing was changed.\n");
      return 1;
    }
    const more = await coSignJob(signer, signed);
    const out = flags.text("out") ?? path;
    if (out === "-") terminal.out(signedJobText(more));
    else await writeSignedJob(out, more);
    terminal.err(`Signed by ${more.signatures.length}. Send it: supervisor submit --signed ${out}\n`);
    return 0;
  },
};

/** @throws Error where no supervisor would admit the job, whoever signs it. */
function assertWorthSigning(signed: SignedJob, path: string): void {
  const [bad] = badSigners(signed);
  if (bad !== undefined) {
    throw new Error(`${path}: the signature of ${bad} is wrong, so the job was changed after it. Ask for a new one.`);
  }
  if (signed.job.expires_at * 1000 < Date.now()) throw new Error(`${path}: the job has expired. Ask for a new one.`);
  if (signed.signatures.length >= MAX_SIGNATURES) throw new Error(`${path}: the job has ${MAX_SIGNATURES} signatures.`);
}

/** `--yes`, or the word of a person at the terminal. @throws UsageError where there is neither */
async function isAgreed({ flags, terminal }: CommandInput, key: string): Promise<boolean> {
  if (flags.has("yes")) return true;
  if (terminal.ask === undefined) {
    throw new UsageError("Nobody is here to ask. Read what it would do, then: supervisor cosign FILE --yes");
  }
  const answer = await terminal.ask(`Sign this job with ${key}? Type yes: `);
  return answer.trim().toLowerCase() === "yes";
}

/** Names of this host's keys.toml, for people; none where it can not be read. */
async function knownNames(path: string): Promise<ReadonlyMap<string, string>> {
  try {
    const { keys } = await loadKeyring(path);
    return new Map(
      keys.map(({ key, name, principal }) => [key, name === principal ? name : `${name} of ${principal}`]),
    );
  } catch {
    // A signer's own machine has no keyring: keys are shown as they are.
    return new Map();
  }
}
