/** `supervisor openrpc`: the OpenRPC document made from the method table, or the same as a page for people. */
import { buildConfig } from "../../src/config.ts";
import { DEFAULT_SERVERS, openRpcDocument } from "../../src/rpc/openrpc.ts";
import { referencePage } from "../../src/rpc/reference.ts";
import { limitsOf } from "../../src/supervisor.ts";
import { type Command, UsageError } from "../command.ts";
import { programVersion } from "../version.ts";

export const openrpc: Command = {
  options: [
    { flag: "--markdown", description: "A page for people instead of the document" },
    { flag: "--json", description: "The document, as without it" },
  ],
  examples: ["supervisor openrpc > openrpc.json", "supervisor openrpc --markdown > api.md"],
  async run({ flags, terminal }) {
    if (flags.has("markdown") && flags.has("json")) throw new UsageError("Give --markdown or --json, not both.");
    const document = openRpcDocument({
      version: programVersion(),
      servers: DEFAULT_SERVERS,
      limits: limitsOf(buildConfig({})),
    });
    terminal.out(flags.has("markdown") ? referencePage(document) : `${JSON.stringify(document, undefined, 2)}\n`);
    return 0;
  },
};
