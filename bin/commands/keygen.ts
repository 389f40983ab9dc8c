/** `supervisor keygen`: a new key pair in a file, its public half on the terminal. */
import { writeSeed } from "../../src/auth/key-file.ts";
import { createNativeSigner } from "../../src/auth/native-verifier.ts";
import { generateSeed } from "../../src/auth/signature.ts";
import { type Command, UsageError } from "../command.ts";
import { printData } from "../terminal.ts";

export const keygen: Command = {
  options: [
    { flag: "--out <file>", description: "Where the secret goes; must not exist" },
    { flag: "--json", description: "Print data as JSON" },
  ],
  examples: ["supervisor keygen --out alice.key"],
  async run({ flags, terminal }) {
    const path = flags.text("out");
    if (path === undefined) throw new UsageError("Where should the secret go? supervisor keygen --out FILE");
    const seed = generateSeed();
    await writeSeed(path, seed);
    const { publicKey } = createNativeSigner(seed);
    const next = `Enrol it where the supervisor is: supervisor keys add --name NAME --principal WHO --key ${publicKey} --role submitter --runner "*"`;
    printData(terminal, { public_key: publicKey, file: path }, { isJson: flags.has("json"), lines: () => [publicKey] });
    terminal.err(`${next}\n`);
    return 0;
  },
};
