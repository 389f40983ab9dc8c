/** `supervisor whoami`: what the policy knows of our key. */
import type { Command } from "../command.ts";
import { CONNECTION_OPTIONS, withConnection } from "../connection.ts";
import { printData } from "../terminal.ts";

export const whoami: Command = {
  options: CONNECTION_OPTIONS,
  examples: ["supervisor whoami", "supervisor whoami --key alice.key"],
  async run(input) {
    const known = await withConnection(input, async ({ client }) => client.call("whoami", {}));
    printData(input.terminal, known, {
      isJson: input.flags.has("json"),
      lines: () => [
        `key        ${known.key}`,
        `name       ${known.name}`,
        `principal  ${known.principal}`,
        `roles      ${known.roles.join(", ")}`,
        `runners    ${known.runners.join(", ") || "-"}`,
      ],
    });
    return 0;
  },
};
