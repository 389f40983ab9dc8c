/** `npm run quickstart`: installs and builds, then hands over to the program's own demo. Node built-ins only. */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);

/** @param {string} text */
function say(text) {
  process.stderr.write(`${text}\n`);
}

/** @param {string} what @param {string} fix @returns {never} */
function fail(what, fix) {
  say(`quickstart: ${what}`);
  say(`  to mend it: ${fix}`);
  process.exit(1);
}

/** Runs one npm command quietly; its output is shown only when it fails. @param {string} title @param {string[]} words */
function npm(title, words) {
  say(`quickstart: ${title} …`);
  const startedMs = Date.now();
  const done = spawnSync("npm", words, { cwd: root, encoding: "utf8", shell: process.platform === "win32" });
  if (done.status !== 0) {
    say(done.stdout ?? "");
    say(done.stderr ?? "");
    fail(`npm ${words.join(" ")} failed`, `run it by hand in ${root} and read its last lines`);
  }
  say(`quickstart: ${title}: done in ${((Date.now() - startedMs) / 1000).toFixed(1)} s`);
}

/** @param {string} path */
function modifiedMs(path) {
  return existsSync(path) ? statSync(path).mtimeMs : 0;
}

if (major < 20 || (major === 20 && minor < 19)) {
  fail(`Node ${process.versions.node} is too old`, "install Node 20.19 or newer");
}

const lock = join(root, "package-lock.json");
const installed = join(root, "node_modules", ".package-lock.json");
if (modifiedMs(installed) < modifiedMs(lock)) npm("installing packages", ["ci", "--no-audit", "--no-fund"]);
npm("building", ["run", "build"]);

const demo = spawn(process.execPath, [join(root, "dist", "bin", "supervisor.js"), "demo", ...process.argv.slice(2)], {
  cwd: root,
  stdio: "inherit",
});
// Ctrl-C reaches the demo by itself (same terminal); a plain kill of this process is passed on. Either way it cleans up.
process.on("SIGINT", () => undefined);
for (const signal of /** @type {const} */ (["SIGTERM", "SIGHUP"])) process.on(signal, () => demo.kill(signal));
demo.on("exit", (code, signal) => {
  process.exitCode = code ?? (signal === null ? 0 : 1);
});
