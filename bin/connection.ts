/** How a command reaches a supervisor: address, signing key, and the identity it pins (never believed from the wire). */
import { readFile } from "node:fs/promises";

import { readSeed } from "../src/auth/key-file.ts";
import { createNativeSigner } from "../src/auth/native-verifier.ts";
import { isPublicKey, type Signer } from "../src/auth/signature.ts";
import { SupervisorClient } from "../src/client/index.ts";
import type { Config } from "../src/config.ts";
import { dataPaths, type DataPaths, readIdentity } from "../src/data-directory.ts";
import { errorText } from "../src/errors.ts";
import type { Dialer } from "../src/rpc/transport.ts";
import { dial, type DialOptions } from "../transports/dial.ts";
import { type Flags, type Option, UsageError } from "./command.ts";
import { CONFIG_OPTION, configOf } from "./config.ts";
import { askDaemon } from "./daemon.ts";
import { impatientDialer } from "./impatient-dialer.ts";
import { Silence } from "./silence.ts";
import { styled, type Terminal } from "./terminal.ts";

const DEFAULT_PORT = 8080;

/** Options of every command that calls a supervisor. */
export const CONNECTION_OPTIONS: readonly Option[] = [
  {
    flag: "--to <url>",
    description: "Supervisor: http(s)://, ws(s)://, mycelium://; or SUPERVISOR_URL",
    default: `http://127.0.0.1:${DEFAULT_PORT}`,
  },
  { flag: "--key <file>", description: "Signing key; the data directory's owner.key unless told" },
  {
    flag: "--supervisor <key>",
    description: "Identity of the supervisor, ed25519:…; this host's own, or known_supervisors",
  },
  { flag: "--data-dir <dir>", description: "Data directory", default: "~/.local/share/horus-supervisor" },
  CONFIG_OPTION,
  { flag: "--mycelium-api <url>", description: "REST API of the local Mycelium daemon; or SUPERVISOR_MYCELIUM_API" },
  { flag: "--mycelium-topic <topic>", description: "Message topic; or SUPERVISOR_MYCELIUM_TOPIC" },
  { flag: "--json", description: "Print data as JSON" },
];

/** What signing needs, and no connection. */
export interface SigningParts {
  readonly signer: Signer;
  /** The pinned identity. */
  readonly supervisor: string;
  readonly paths: DataPaths;
}

export interface CommandConnection extends SigningParts {
  readonly client: SupervisorClient;
}

/** Connects as flags, environment and file say, runs `use`, and lets go of the connection in any case. */
export async function withConnection<Value>(
  { flags, terminal }: { readonly flags: Flags; readonly terminal: Terminal },
  use: (connection: CommandConnection) => Promise<Value>,
): Promise<Value> {
  return connected(await targetOf({ flags, terminal }), { terminal, use });
}

/** The same key and the same pinned identity, and nobody is called. */
export async function signingParts(from: {
  readonly flags: Flags;
  readonly terminal: Terminal;
}): Promise<SigningParts> {
  const target = await targetOf(from);
  return signingPartsOf(target, dataPaths(target.dataDirectory));
}

async function signingPartsOf(target: Target, paths: DataPaths): Promise<SigningParts> {
  const supervisor = await pinnedIdentity(target, paths);
  const signer = await signerAt(target.key ?? paths.owner);
  return { signer, supervisor, paths };
}

/** Which supervisor, and as whom, as flags, environment and file say. */
export async function targetOf({
  flags,
  terminal,
}: {
  readonly flags: Flags;
  readonly terminal: Terminal;
}): Promise<Target> {
  const config = await configOf(flags, terminal);
  const url = flags.text("to") ?? given(terminal.env["SUPERVISOR_URL"]) ?? ownUrl(config.http);
  return {
    url,
    dataDirectory: config.data_dir,
    mycelium: {
      api: config.mycelium.api,
      topic: config.mycelium.topic,
      allowRemoteApi: config.mycelium.allow_remote_api,
      maxMessageBytes: config.mycelium.max_message_bytes,
      messagesPerSecond: config.mycelium.messages_per_second,
    },
    key: flags.text("key"),
    supervisor: flags.text("supervisor"),
  };
}

function given(text: string | undefined): string | undefined {
  return text === "" ? undefined : text;
}

/** Where a supervisor with these settings serves on this host. */
export function ownUrl(http: Config["http"]): string {
  const isWildcard = http.host === "0.0.0.0" || http.host === "::";
  const host = isWildcard ? "127.0.0.1" : http.host.includes(":") ? `[${http.host}]` : http.host;
  return `${http.tls_cert === "" ? "http" : "https"}://${host}:${http.port === 0 ? DEFAULT_PORT : http.port}`;
}

/** Which supervisor, and as whom. */
export interface Target {
  readonly url: string;
  readonly dataDirectory: string;
  /** The local daemon that carries `mycelium://` calls. */
  readonly mycelium?: NonNullable<DialOptions["mycelium"]>;
  /** File of the signing key; the data directory's owner key unless told. */
  readonly key?: string | undefined;
  /** The identity to pin; looked up unless told. */
  readonly supervisor?: string | undefined;
}

/** Connects to a supervisor, runs `use`, and lets go of the connection in any case. */
export async function connected<Value>(
  target: Target,
  { terminal, use }: { readonly terminal: Terminal; readonly use: (connection: CommandConnection) => Promise<Value> },
): Promise<Value> {
  if (target.mycelium !== undefined && target.url.startsWith("mycelium:")) await askDaemon(target.mycelium);
  return dialed(target, {
    terminal,
    use: async (dialer) => {
      const parts = await signingPartsOf(target, dataPaths(target.dataDirectory));
      const { signer, supervisor } = parts;
      return use({ client: new SupervisorClient({ dialer, signer, supervisor }), ...parts });
    },
  });
}

/**
 * Runs `use` with a dialer for people at a terminal, who hear of a silence, and lets go of it in any case.
 * @throws UsageError for an address that is none
 */
export async function dialed<Value>(
  target: Target,
  { terminal, use }: { readonly terminal: Terminal; readonly use: (dialer: Dialer) => Promise<Value> },
): Promise<Value> {
  const carrier = dialTarget(target);
  const silence = new Silence(target.url, (text) => terminal.err(`${styled(terminal, "dim", text)}\n`));
  try {
    return await use(impatientDialer(carrier, terminal.stop, silence));
  } finally {
    silence.end();
    await carrier.close();
  }
}

function dialTarget({ url, mycelium }: Target): Dialer {
  try {
    return dial(url, mycelium === undefined ? {} : { mycelium });
  } catch (error) {
    throw new UsageError(`--to ${errorText(error)}`, { cause: error });
  }
}

/** Signs with the key in a file. @throws Error naming the file and the fix */
export async function signerAt(path: string): Promise<Signer> {
  try {
    return createNativeSigner(await readSeed(path));
  } catch (error) {
    if (!isMissing(error)) throw error;
    throw new UsageError(
      `No key at ${path}. Start a supervisor here first, make one with: supervisor keygen --out FILE, or name it with --key.`,
      { cause: error },
    );
  }
}

/** Is it, or its cause, that a file is not there? */
export function isMissing(error: unknown): boolean {
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  return cause instanceof Error && "code" in cause && cause.code === "ENOENT";
}

/**
 * As told, else a line of known_supervisors for this address, else the identity of this host's own data directory.
 * @throws UsageError where none is known, or one is in doubt
 */
export async function pinnedIdentity({ url, supervisor: told }: Target, paths: DataPaths): Promise<string> {
  if (told !== undefined) {
    return asPin(told, `--supervisor "${told}"`);
  }
  const known = await knownSupervisor(paths.knownSupervisors, url);
  if (known !== undefined) return known;
  try {
    return createNativeSigner(await readIdentity(paths)).publicKey;
  } catch (error) {
    if (!isMissing(error)) throw error;
    throw new UsageError(
      `The identity of ${url} is not known here. Name the data directory of that supervisor (--data-dir), or start one on this ` +
        `host first (supervisor); or pin another host's, which it prints at start: --supervisor ed25519:…, or a line "${url} ed25519:…" in ${paths.knownSupervisors}.`,
      { cause: error },
    );
  }
}

/** Lines of `<url> <identity>`; `#` begins a comment. @throws UsageError for a line about this address that is no pin */
async function knownSupervisor(path: string, url: string): Promise<string | undefined> {
  // No going on to another identity where this one is malformed or in doubt: that would be a guess about whom to trust.
  const pins = (await knownLines(path)).flatMap((line) => {
    const [address = "", ...identity] = line.replace(/#.*/u, "").trim().split(/\s+/u);
    if (address === "" || withoutSlash(address) !== withoutSlash(url)) return [];
    return [asPin(identity.join(" "), `${path}: "${identity.join(" ")}" after ${address}`)];
  });
  const [pin, ...others] = new Set(pins);
  if (others.length === 0) return pin;
  throw new UsageError(
    `${path} has ${pins.length} lines for ${url} that name different identities. Leave the right one.`,
  );
}

async function knownLines(path: string): Promise<readonly string[]> {
  try {
    return (await readFile(path, "utf8")).split("\n");
  } catch (error) {
    // The file is optional: without it the data directory's own identity is taken.
    if (isMissing(error)) return [];
    throw new UsageError(`${path} can not be read (${errorText(error)}), and may pin this supervisor.`, {
      cause: error,
    });
  }
}

function asPin(text: string, where: string): string {
  if (!isPublicKey(text)) throw new UsageError(`${where} is not ed25519: and 64 lower-case hex digits.`);
  return text;
}

function withoutSlash(url: string): string {
  return url.replace(/\/$/u, "");
}
