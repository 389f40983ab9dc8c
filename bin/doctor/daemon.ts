/** What `supervisor doctor` looks at in the local Mycelium daemon, each fault with its fix. */
import { join } from "node:path";

import type { Config } from "../../src/config.ts";
import { errorText } from "../../src/errors.ts";
import { daemonCommand, daemonNotes, RELEASES, urlOf } from "../../transports/mycelium/daemon-notes.ts";
import { measurePace } from "../../transports/mycelium/daemon-pace.ts";
import { MyceliumDaemon } from "../../transports/mycelium/daemon.ts";
import type { Check } from "./check.ts";

/** Longest wait for an answer, in ms: a daemon that somebody long-polls answers late. */
const PATIENCE_MS = 10_000;

/** Reachable, loopback, version, own or shared, key, topic; only reachable where it is not. */
export async function checkDaemon({ mycelium, data_dir: directory }: Config): Promise<readonly Check[]> {
  const { api, allow_remote_api: allowRemoteApi } = mycelium;
  let daemon: MyceliumDaemon;
  try {
    daemon = new MyceliumDaemon({ api, allowRemoteApi, deadlineMs: PATIENCE_MS });
  } catch (error) {
    return [{ what: "Mycelium", verdict: "fault", says: errorText(error) }];
  }
  try {
    return await examine(daemon, mycelium);
  } catch (error) {
    const command = daemonCommand(daemon.api, join(directory, "mycelium.bin"));
    const fix = `Start one of your own, no root needed: ${command} (HOST: a peer's address; the program: ${RELEASES})`;
    return [{ what: `Mycelium ${daemon.api}`, verdict: "fault", says: `${errorText(error)}. ${fix}` }];
  } finally {
    daemon.close();
  }
}

async function examine(daemon: MyceliumDaemon, settings: Config["mycelium"]): Promise<readonly Check[]> {
  // Makes the connection, so that only answers are timed.
  await daemon.admin();
  const pace = await measurePace(daemon);
  const facts = { ...pace, isRemote: daemon.isRemote };
  const notes = daemonNotes({ ...facts, isPolled: settings.receive === "poll", hasOtherReader: false });
  return [
    { what: `Mycelium ${daemon.api}`, verdict: "good", says: `answers in ${Math.round(pace.answerMs)} ms` },
    ...notes.map((says): Check => ({ what: "Mycelium daemon", verdict: "warning", says: capital(says) })),
    { what: "Mycelium node", verdict: "good", says: `peers reach a supervisor here at ${urlOf(pace.node)}` },
    await checkTopic(daemon, settings),
  ];
}

/** Who may send to the topic: the daemon's list, which the supervisor makes what `sources` says when it starts. */
async function checkTopic(daemon: MyceliumDaemon, { topic, sources }: Config["mycelium"]): Promise<Check> {
  const what = `Mycelium topic "${topic}"`;
  const listed = await daemon.sources(topic);
  if (sources.length > 0) return { what, verdict: "good", says: `taken from ${sources.join(", ")}` };
  if (listed === undefined)
    return { what, verdict: "good", says: "taken from every node, unless the daemon's --topic-config says no" };
  return listed.length > 0
    ? { what, verdict: "good", says: `taken from ${listed.join(", ")} (the daemon's own list)` }
    : { what, verdict: "fault", says: "on the daemon's list without a source: nobody can send. Set mycelium.sources" };
}

function capital(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;
}
