/** Flags, environment and file become one frozen, validated config; the only reader of process.env and config files. */
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join, resolve } from "node:path";

import { Compile } from "typebox/compile";

import { redactUrl } from "./redact-url.ts";
import { allSettings, type Setting, Settings } from "./settings.ts";
import { editDistance } from "./spelling.ts";
import { parseToml, type TomlTable as Table } from "./toml.ts";

export type Config = Settings;

/** A wrong setting: says which, its value, and the fix. The command line exits 2 with it. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** The file read when `--config` does not name one, if it is there. */
export const DEFAULT_CONFIG_FILE = "mycelium.toml";

export interface ConfigSources {
  /** Values by setting path, as the command line parsed them: text, or true for a bare switch. */
  readonly flags?: Readonly<Record<string, string | boolean>>;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** TOML text and where it came from. */
  readonly file?: { readonly path: string; readonly text: string };
}

/** `null`-free nesting of plain tables, made as they are needed. */
function setPath(root: Table, path: string, value: unknown): void {
  const parts = path.split(".");
  const last = parts.pop();
  let table = root;
  for (const part of parts) {
    const inner = table[part];
    if (isTable(inner)) table = inner;
    else table = table[part] = {};
  }
  if (last !== undefined) table[last] = value;
}

function isTable(value: unknown): value is Table {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const SECRET_PATHS = new Set(["redis.url"]);

/** A value as an error may show it: passwords in URLs are cut. */
function shown(path: string, value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return SECRET_PATHS.has(path) ? redactUrl(text) : text;
}

function fromText(setting: Setting, text: string, origin: string): unknown {
  if (setting.type === "string") return text;
  if (setting.type === "list") return text === "" ? [] : text.split(",").map((item) => item.trim());
  if (setting.type === "boolean") {
    if (text === "true" || text === "1") return true;
    if (text === "false" || text === "0") return false;
    throw new ConfigError(`${origin}: "${text}" is not true or false.`);
  }
  if (!/^-?\d{1,15}$/u.test(text)) {
    throw new ConfigError(`${origin}: "${text}" is not a whole number. Give one, such as ${String(setting.default)}.`);
  }
  return Number(text);
}

function readToml(file: { readonly path: string; readonly text: string }): Table {
  const parsed = parseToml(file.text);
  if (parsed.ok) return parsed.table;
  throw new ConfigError(`${file.path}: ${parsed.fault} mycelium.toml.example shows each setting.`, {
    cause: parsed.cause,
  });
}

function mergeFile(root: Table, layer: Table, prefix = ""): void {
  for (const [name, value] of Object.entries(layer)) {
    const path = prefix === "" ? name : `${prefix}.${name}`;
    if (isTable(value) && prefix === "" && name !== "executor" && name !== "queue") mergeFile(root, value, path);
    else setPath(root, path, value);
  }
}

/** Says which key is wrong, its value, and what is expected there. */
function explain(values: Table): string {
  const error = Compile(Settings)
    .Errors(values)
    .find((found) => found.keyword !== "additionalProperties");
  if (error === undefined) return "The settings are refused.";
  const path = error.instancePath.slice(1).replaceAll("/", ".");
  const value = path.split(".").reduce<unknown>((at, part) => (isTable(at) ? at[part] : undefined), values);
  if (error.keyword === "boolean")
    return `Unknown setting "${path}"${nearest(path)}. mycelium.toml.example lists them all.`;
  const setting = allSettings().find((known) => known.path === path);
  const fix = setting === undefined ? "" : ` ${setting.description}. Default: ${JSON.stringify(setting.default)}.`;
  const expected = error.keyword === "enum" ? `must be ${error.params.allowedValues.join(", ")}` : error.message;
  return `Setting "${path}" is ${shown(path, value)}: ${expected}.${fix}`;
}

/** A hint at the setting that was probably meant: the same name in another section, or a slip of the keyboard. */
function nearest(path: string): string {
  const last = path.split(".").at(-1) ?? path;
  const ranked = allSettings()
    .map((known) => ({
      path: known.path,
      distance: known.path.endsWith(`.${last}`) ? 0 : editDistance(known.path, path),
    }))
    .toSorted((a, b) => a.distance - b.distance);
  const [best] = ranked;
  return best === undefined || best.distance > 3 ? "" : ` (did you mean "${best.path}"?)`;
}

function deepFreeze<Value>(value: Value): Value {
  if (typeof value === "object" && value !== null) {
    for (const inner of Object.values(value)) deepFreeze(inner);
    Object.freeze(value);
  }
  return value;
}

function mergeEnvironment(root: Table, env: Readonly<Record<string, string | undefined>>): void {
  for (const setting of allSettings()) {
    const text = env[setting.env];
    if (text !== undefined) setPath(root, setting.path, fromText(setting, text, setting.env));
  }
}

function mergeFlags(root: Table, flags: Readonly<Record<string, string | boolean>>): void {
  for (const [path, value] of Object.entries(flags)) {
    const setting = allSettings().find((known) => known.path === path);
    if (setting === undefined) throw new ConfigError(`Unknown setting "${path}".`);
    const origin = setting.flag === undefined ? path : `--${setting.flag}`;
    setPath(root, path, typeof value === "string" ? fromText(setting, value, origin) : value);
  }
}

/**
 * Merges defaults < file < environment < flags, and freezes the whole.
 * @throws ConfigError naming the key, the value and the fix.
 */
export function buildConfig(sources: ConfigSources): Config {
  const env = sources.env ?? {};
  const values: Table = {};
  for (const setting of allSettings()) setPath(values, setting.path, structuredClone(setting.default));
  setPath(values, "executor", {});
  setPath(values, "queue", {});
  if (sources.file !== undefined) mergeFile(values, readToml(sources.file));
  mergeEnvironment(values, env);
  mergeFlags(values, sources.flags ?? {});
  const validator = Compile(Settings);
  if (!validator.Check(values)) throw new ConfigError(explain(values));
  checkTogether(values);
  return deepFreeze({ ...values, data_dir: resolve(values.data_dir === "" ? defaultDataDir(env) : values.data_dir) });
}

/** Rules over more than one setting. */
function checkTogether(config: Config): void {
  if ((config.http.tls_cert === "") !== (config.http.tls_key === "")) {
    throw new ConfigError("http.tls_cert and http.tls_key belong together: set both or none.");
  }
  if (!config.http.enabled && !config.mycelium.enabled) {
    throw new ConfigError(
      "Neither HTTP nor Mycelium is enabled: nobody could call. Leave out --no-http, or add --mycelium.",
    );
  }
}

function defaultDataDir(env: Readonly<Record<string, string | undefined>>): string {
  const base = env["XDG_DATA_HOME"];
  return join(base === undefined || base === "" ? join(homedir(), ".local", "share") : base, "horus-supervisor");
}

interface LoadOptions {
  readonly flags: Readonly<Record<string, string | boolean>>;
  /** `--config`; without it mycelium.toml in the working directory is read when it is there. */
  readonly configFile?: string;
  readonly env?: NodeJS.ProcessEnv;
}

/** Reads the file and the environment and builds the config. @throws ConfigError */
export async function loadConfig({ flags, configFile, env = process.env }: LoadOptions): Promise<Config> {
  const path = configFile ?? DEFAULT_CONFIG_FILE;
  let text: string | undefined;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (configFile !== undefined) {
      throw new ConfigError(`--config "${configFile}" can not be read. Name an existing file, or leave it out.`, {
        cause: error,
      });
    }
  }
  return buildConfig({ flags, env, ...(text === undefined ? {} : { file: { path, text } }) });
}
