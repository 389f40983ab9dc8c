/** `supervisor peers`: overlay nodes that carried messages to a supervisor. */
import type { Command } from "../command.ts";
import { CONNECTION_OPTIONS, withConnection } from "../connection.ts";
import { clockTime, printData, table } from "../terminal.ts";

export const peers: Command = {
  options: CONNECTION_OPTIONS,
  examples: ["supervisor peers"],
  async run(input) {
    const { peers: seen } = await withConnection(input, async ({ client }) => client.call("list_peers", {}));
    printData(input.terminal, seen, {
      isJson: input.flags.has("json"),
      lines: () =>
        table(
          ["NODE", "ADDRESS", "LAST MESSAGE", "CALLS", "REFUSED", "ROUND TRIP"],
          seen.map((peer) => [
            peer.node,
            peer.address,
            clockTime(peer.last_message_ms),
            String(peer.calls),
            String(peer.refused),
            peer.round_trip_ms === undefined ? "-" : `${peer.round_trip_ms} ms`,
          ]),
        ),
    });
    return 0;
  },
};
