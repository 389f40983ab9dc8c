/** Settings from the command line: which flags there are, and flags, environment and file as one config. */
import { type Config, ConfigError, loadConfig } from "../src/config.ts";
import { errorText } from "../src/errors.ts";
import { allSettings, type Setting } from "../src/settings.ts";
import { parseRedisUrl } from "../src/store/redis-url.ts";
import { type Flags, type Option, UsageError } from "./command.ts";
import type { Terminal } from "./terminal.ts";

/** The file that holds any setting. */
export const CONFIG_OPTION: Option = {
  flag: "--config <file>",
  description: "TOML file with any setting",
  default: "mycelium.toml where it is",
};

/** Settings with a flag, as help shows them: all, or the named ones. */
export function settingOptions(names?: readonly string[]): readonly Option[] {
  return allSettings().flatMap((setting) =>
    setting.flag === undefined || names?.includes(setting.flag) === false ? [] : [toOption(setting, setting.flag)],
  );
}

function toOption(setting: Setting, flag: string): Option {
  const { type, description, default: value } = setting;
  if (type === "boolean") return { flag: `--${flag}`, description };
  return {
    // `--redis-url <url>`: the last word of a flag says what it takes.
    flag: `--${flag} <${flag.split("-").at(-1) ?? "value"}>`,
    description,
    ...(value === "" ? {} : { default: String(value) }),
  };
}

/** Flags as settings by path; `--no-http` is the one that no setting declares. */
function settingFlags(flags: Flags): Readonly<Record<string, string | boolean>> {
  const values: Record<string, string | boolean> = flags.has("no-http") ? { "http.enabled": false } : {};
  for (const { flag, path } of allSettings()) {
    const value = flag === undefined ? undefined : (flags.text(flag) ?? (flags.has(flag) || undefined));
    if (value !== undefined) values[path] = value;
  }
  return values;
}

/** The config of a command. @throws UsageError naming the setting, its value and the fix */
export async function configOf(flags: Flags, terminal: Terminal): Promise<Config> {
  const configFile = flags.text("config");
  try {
    const config = await loadConfig({
      flags: settingFlags(flags),
      env: { ...terminal.env },
      ...(configFile === undefined ? {} : { configFile }),
    });
    assertRedisUrl(config.redis.url);
    return config;
  } catch (error) {
    if (error instanceof ConfigError) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}

/** Before a command makes or sends anything. */
function assertRedisUrl(url: string): void {
  try {
    parseRedisUrl(url);
  } catch (error) {
    throw new ConfigError(`Setting "redis.url": ${errorText(error)}`, { cause: error });
  }
}
