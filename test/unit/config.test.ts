import { describe, expect, test } from "vitest";

import { buildConfig, ConfigError, loadConfig } from "../../src/config.ts";
import { redactUrl } from "../../src/redact-url.ts";
import { allSettings } from "../../src/settings.ts";

function file(text: string): { path: string; text: string } {
  return { path: "supervisor.toml", text };
}

describe("buildConfig()", () => {
  test("takes flags over environment over file over defaults", () => {
    const toml = file("[http]\nport = 1\nhost = '::1'\nmax_connections = 7\n");

    const config = buildConfig({
      file: toml,
      env: { SUPERVISOR_HTTP_PORT: "2", SUPERVISOR_HTTP_HOST: "127.0.0.2" },
      flags: { "http.port": "3" },
    });

    expect([config.http.port, config.http.host, config.http.max_connections, config.rpc.max_batch]).toEqual([
      3,
      "127.0.0.2",
      7,
      100,
    ]);
  });

  test("freezes the whole config", () => {
    const config = buildConfig({ file: file("[executor.sh]\ncommand = ['sh']\n") });

    expect(Object.isFrozen(config.http)).toBe(true);
    expect(Object.isFrozen(config.executor["sh"]?.command)).toBe(true);
  });

  test("reads switches, lists and numbers from the environment", () => {
    const config = buildConfig({
      env: {
        SUPERVISOR_MYCELIUM_ENABLED: "1",
        SUPERVISOR_REDIS_ALLOW_UNSAFE: "false",
        SUPERVISOR_HTTP_ALLOWED_HOSTS: "a.example, b.example",
        SUPERVISOR_HTTP_ALLOWED_ORIGINS: "",
      },
    });

    expect(config.mycelium.enabled).toBe(true);
    expect(config.redis.allow_unsafe).toBe(false);
    expect(config.http.allowed_hosts).toEqual(["a.example", "b.example"]);
    expect(config.http.allowed_origins).toEqual([]);
  });

  test("puts the data directory under XDG_DATA_HOME", () => {
    expect(buildConfig({ env: { XDG_DATA_HOME: "/var/x" } }).data_dir).toBe("/var/x/horus-supervisor");
    expect(buildConfig({ env: {} }).data_dir).toMatch(/\.local\/share\/horus-supervisor$/u);
    expect(buildConfig({ flags: { data_dir: "/d" } }).data_dir).toBe("/d");
  });

  test.each([
    [
      "an unknown key, with the one probably meant",
      "[http]\nprot = 1",
      /"http\.prot" \(did you mean "http\.port"\?\)/u,
    ],
    ["an unknown key in the wrong section", "[rpc]\nport = 1", /did you mean "http\.port"/u],
    ["an unknown section", "[zzzzzzzzzz]\na = 1", /Unknown setting "zzzzzzzzzz"\./u],
    [
      "a wrong type, with value, meaning and default",
      "[http]\nport = 'a'",
      /"http\.port" is "a": must be integer.*Default: 8080/u,
    ],
    ["a value out of range", "[http]\nport = 70000", /"http\.port" is 70000: must be <= 65535/u],
    ["an empty executor", "[executor.sh]\ncommand = []", /"executor\.sh\.command" is \[\]/u],
    ["text that is no TOML, with the line", "a = 1\nb =", /supervisor\.toml: not TOML at line 2/u],
    ["half a TLS pair", "[http]\ntls_cert = 'c.pem'", /tls_cert and http\.tls_key belong together/u],
    ["a node that nobody could call", "[http]\nenabled = false", /Neither HTTP nor Mycelium/u],
  ])("refuses %s", (_what, text, message) => {
    expect(() => buildConfig({ file: file(text) })).toThrow(message);
    expect(() => buildConfig({ file: file(text) })).toThrow(ConfigError);
  });

  test.each([
    [{ SUPERVISOR_HTTP_PORT: "8o80" }, /SUPERVISOR_HTTP_PORT: "8o80" is not a whole number/u],
    [{ SUPERVISOR_MYCELIUM_ENABLED: "maybe" }, /"maybe" is not true or false/u],
  ])("names the variable with a wrong value: %o", (env, message) => {
    expect(() => buildConfig({ env })).toThrow(message);
  });

  test("names the flag with a wrong value", () => {
    expect(() => buildConfig({ flags: { "http.port": "x" } })).toThrow('--port: "x" is not a whole number');
    expect(() => buildConfig({ flags: { "rpc.max_batch": "x" } })).toThrow('rpc.max_batch: "x"');
    expect(() => buildConfig({ flags: { nope: "x" } })).toThrow('Unknown setting "nope"');
  });

  test("never shows the password of a Redis URL in an error", () => {
    const text = "[redis]\nurl = 5";

    expect(() => buildConfig({ file: file(text) })).toThrow(/"redis\.url" is 5/u);
    expect(redactUrl("redis://user:hunter2@host:6379/0")).toBe("redis://user:***@host:6379/0");
    expect(redactUrl("redis://:hunter2@host")).toBe("redis://:***@host");
  });
});

describe("loadConfig()", () => {
  test("refuses a config file that is not there, when it was named", async () => {
    await expect(loadConfig({ flags: {}, configFile: "/no/such.toml", env: {} })).rejects.toThrow(
      /--config "\/no\/such\.toml"/u,
    );
  });

  test("does without a file when none was named", async () => {
    const config = await loadConfig({ flags: {}, env: {} });

    expect(config.http.port).toBe(8080);
  });
});

describe("allSettings()", () => {
  test("names each setting, its variable and its meaning once", () => {
    const settings = allSettings();

    expect(new Set(settings.map(({ env }) => env)).size).toBe(settings.length);
    expect(settings.filter(({ description }) => description.length < 5)).toEqual([]);
    expect(settings.find(({ path }) => path === "http.port")).toMatchObject({
      env: "SUPERVISOR_HTTP_PORT",
      flag: "port",
    });
  });
});
