/** `supervisor demo-mycelium`: two overlay nodes on this machine, and a signed job sent from one and run at the other. */
import type { Command } from "../command.ts";
import { findDaemon, startOverlaySystem } from "../demo/overlay.ts";
import { playJob } from "../demo/play.ts";
import { withStage } from "../demo/stage.ts";

export const demoMycelium: Command = {
  options: [{ flag: "--logs", description: "Show the log lines of all processes as they come" }],
  examples: ["supervisor demo-mycelium", "MYCELIUM_BIN=./mycelium supervisor demo-mycelium --logs"],
  async run({ flags, terminal }) {
    const program = findDaemon(terminal.env);
    return withStage(terminal, {
      showsLogs: flags.has("logs"),
      play: async (stage) => {
        try {
          return (await playJob(stage, await startOverlaySystem(stage, program))) ? 0 : 1;
        } catch (error) {
          if (!stage.signal.aborted) throw error;
          stage.step("interrupted");
          return 1;
        }
      },
    });
  },
};
