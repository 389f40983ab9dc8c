/** `supervisor demo`: a whole system on this machine in one command, from Redis to a verified receipt. */
import type { Command } from "../command.ts";
import { playJob } from "../demo/play.ts";
import { type Stage, withStage } from "../demo/stage.ts";
import { type DemoSystem, RUNNER, startDemoSystem } from "../demo/system.ts";
import type { Terminal } from "../terminal.ts";

interface Wishes {
  readonly port: number;
  readonly isOnce: boolean;
}

export const demo: Command = {
  options: [
    { flag: "--once", description: "Stop everything at the end instead of leaving it running until Ctrl-C" },
    { flag: "--port <port>", description: "Port of the supervisor; another one when it is taken", default: "8080" },
    { flag: "--logs", description: "Show the log lines of Redis, supervisor and runner as they come" },
  ],
  examples: ["supervisor demo", "supervisor demo --once", "REDIS_URL=redis://10.0.0.5:6379 supervisor demo --logs"],
  async run({ flags, terminal }) {
    const wishes = { port: flags.integer("port", [0, 65_535]) ?? 8080, isOnce: flags.has("once") };
    return withStage(terminal, { showsLogs: flags.has("logs"), play: async (stage) => play(stage, wishes) });
  },
};

async function play(stage: Stage, { port, isOnce }: Wishes): Promise<number> {
  try {
    const system = await startDemoSystem(stage, port);
    const isGood = await playJob(stage, system);
    if (isOnce || !isGood) return isGood ? 0 : 1;
    explain(stage, system);
  } catch (error) {
    if (!stage.signal.aborted) throw error;
    stage.step("interrupted");
    return 1;
  }
  await stage.untilStopped();
  return 0;
}

function explain({ terminal }: Stage, { url, dataDirectory }: DemoSystem): void {
  const program = programName(terminal);
  terminal.err(`
The system goes on until Ctrl-C. By hand, in another terminal:
  export SUPERVISOR_URL=${url} SUPERVISOR_DATA_DIR=${dataDirectory}
  echo 'echo hello from $HORUS_JOB_ID' | ${program} submit --runner ${RUNNER} --wait --follow
  ${program} job list
  ${program} runner status ${RUNNER}
  curl -s ${url}/ -H 'content-type: application/json' -d '{"jsonrpc":"2.0","id":1,"method":"get_info"}'
`);
}

/** How a person calls the program: from a checkout it is on nobody's PATH. */
function programName({ env, program }: Terminal): string {
  if (program.at(-1)?.endsWith(".ts")) return "npx tsx bin/supervisor.ts";
  return env["npm_lifecycle_event"] === undefined ? "supervisor" : "node dist/bin/supervisor.js";
}
