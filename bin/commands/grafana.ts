/** `supervisor grafana`: the dashboard for `GET /metrics`. */
import { dashboard } from "../../src/dashboard.ts";
import type { Command } from "../command.ts";

export const grafana: Command = {
  options: [{ flag: "--json", description: "As without it: the dashboard is JSON" }],
  examples: ["supervisor grafana > dashboard.json"],
  async run({ terminal }) {
    terminal.out(`${JSON.stringify(dashboard(), undefined, 2)}\n`);
    return 0;
  },
};
