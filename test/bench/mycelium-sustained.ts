/** Ten minutes of calls over the overlay at the rate a daemon is given for long: all are answered, and the daemon stays small. */
import { RealDaemon } from "../support/mycelium-pair.ts";
import { processorMs } from "./machine.ts";
import { GOVERNED_PER_SECOND, LINK_MS, type Overlay, pairOf, withOverlay } from "./overlay.ts";
import type { Figures } from "./report.ts";
import { type Comparison, median, type Sample } from "./rounds.ts";

const MINUTES = 10;
/** Calls waiting for an answer at a time: enough to fill the messages that are allowed. */
const IN_FLIGHT = 256;
/** Of a daemon, at most. */
const CORES = 0.25;

/** Takes {@link MINUTES} minutes, whatever rounds are asked for. */
export async function benchMyceliumSustained(): Promise<Figures> {
  return withOverlay(sustain, { messagesPerSecond: GOVERNED_PER_SECOND });
}

async function sustain(overlay: Overlay): Promise<readonly Comparison[]> {
  const samples: Sample[] = [];
  for (let minute = 0; minute < MINUTES; minute += 1) samples.push(await measureMinute(overlay));
  const cores = samples.map(({ details }) => ({ perSecond: 1 / Math.max(0.001, details?.["daemon's cores"] ?? 0) }));
  const first = samples[0] ?? { perSecond: Number.NaN };
  return [
    {
      title: `signed calls over a ${LINK_MS} ms link at ${GOVERNED_PER_SECOND} messages a second, minute by minute, ${overlay.kind}`,
      unit: "calls answered a second",
      required: 0.95,
      subject: { name: "each minute", samples },
      baseline: { name: "the first", samples: samples.map(() => first) },
    },
    ...(overlay.nodes.nodes.some((node) => node instanceof RealDaemon)
      ? [
          {
            title: "the supervisor's daemon meanwhile",
            unit: "1 / cores used",
            required: 1,
            subject: { name: "used", samples: cores },
            baseline: { name: "allowed", samples: cores.map(() => ({ perSecond: 1 / CORES })) },
          },
        ]
      : []),
  ];
}

/** @throws whatever a call that was not answered throws: none may be lost. */
async function measureMinute({ client, nodes, program }: Overlay): Promise<Sample> {
  const [, far] = pairOf(nodes);
  const pids = { daemon: far instanceof RealDaemon ? far.pid : 0, supervisor: program.pid };
  const before = { daemon: await processorMs(pids.daemon), supervisor: await processorMs(pids.supervisor) };
  const started = performance.now();
  const latencies: number[] = [];
  const lane = async (): Promise<void> => {
    while (performance.now() - started < 60_000) {
      const sent = performance.now();
      await client.call("whoami", {});
      latencies.push(performance.now() - sent);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
  const ms = performance.now() - started;
  const after = { daemon: await processorMs(pids.daemon), supervisor: await processorMs(pids.supervisor) };
  const share = (name: keyof typeof pids): number => ((after[name] ?? 0) - (before[name] ?? 0)) / ms;
  return {
    perSecond: (latencies.length * 1000) / ms,
    details: {
      "median ms": median(latencies),
      "daemon's cores": share("daemon"),
      "supervisor's cores": share("supervisor"),
    },
  };
}
