/** `supervisor`: the words of the command that starts one. */
import type { Command } from "../command.ts";
import { CONFIG_OPTION, settingOptions } from "../config.ts";

export const serve: Command = {
  options: [CONFIG_OPTION, ...settingOptions(), { flag: "--no-http", description: "Serve over Mycelium alone" }],
  examples: [
    "supervisor --port 8080 --redis-url redis://localhost:6379",
    "supervisor --port 8080 --mycelium --redis-url redis://localhost:6379",
    "supervisor --mycelium",
  ],
  // Loaded to run alone: help would wait for all that a supervisor is made of.
  run: async (input) => (await import("../serving.ts")).serve(input),
};
