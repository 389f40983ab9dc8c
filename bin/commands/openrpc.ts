/** `supervisor openrpc`: the OpenRPC document made from the method table. */
import { buildConfig } from "../../src/config.ts";
import { openRpcDocument } from "../../src/rpc/openrpc.ts";
import { limitsOf } from "../../src/supervisor.ts";
import type { Command } from "../command.ts";
import { programVersion } from "../version.ts";

export const openrpc: Command = {
  options: [],
  examples: ["supervisor openrpc > openrpc.json"],
  async run({ terminal }) {
    const document = openRpcDocument({
      version: programVersion(),
      url: "http://localhost:8080/",
      limits: limitsOf(buildConfig({})),
    });
    terminal.out(`${JSON.stringify(document, undefined, 2)}\n`);
    return 0;
  },
};
