/**
 * What `npm run dev` starts again at every change: the program as it ships, built anew, as a demo with its logs. A build
 * that fails says why, and the next change is waited for.
 */
import { spawnSync } from "node:child_process";

const { status } = spawnSync("npm", ["run", "--silent", "build"], { stdio: "inherit" });
if (status === 0) {
  process.argv.splice(2, process.argv.length, "demo", "--logs");
  // The watcher's loader is of no use to what the demo starts.
  process.execArgv.length = 0;
  await import(new URL("../dist/bin/supervisor.js", import.meta.url).href);
}
