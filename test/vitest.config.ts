import { fileURLToPath } from "node:url";

import { defineConfig } from "vitest/config";

export default defineConfig({
  // Whatever the working directory is.
  root: fileURLToPath(new URL("..", import.meta.url)),
  test: {
    include: ["test/**/*.test.ts"],
    // Most files wait for processes and sockets: more of them than cores are worth running at a time.
    maxWorkers: 3,
    // Files of a worker share its modules, which hold nothing of a test's: loading them anew for each took half the time.
    isolate: false,
    // Real processes on a noisy machine; waits are for conditions, so this is a bound and no pace.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: ["default", "json"],
    outputFile: { json: "coverage/results.json" },
    coverage: {
      provider: "v8",
      include: ["src/**/*.ts", "transports/**/*.ts", "bin/**/*.ts"],
      // test/e2e runs it as a process, where v8 coverage does not look.
      exclude: ["bin/supervisor.ts"],
      thresholds: {
        "src/{auth,jobs,rpc}/**": { lines: 100 },
        "{bin,transports}/**": { lines: 90 },
        "src/{client,runner,runners,store}/**": { lines: 90 },
        "src/*.ts": { lines: 90 },
      },
    },
  },
});
