/** Asking the local Mycelium daemon whether it is there, before minutes are spent on messages that never left. */
import { errorText } from "../src/errors.ts";
import { type DaemonSettings, MyceliumDaemon } from "../transports/mycelium/daemon.ts";

/** Longest wait for its answer, in ms: a daemon that somebody long-polls answers late. */
const PATIENCE_MS = 10_000;

type NodeInfo = Awaited<ReturnType<MyceliumDaemon["admin"]>>;

/** Who the daemon is. @throws Error naming its address and the fix */
export async function askDaemon(settings: DaemonSettings): Promise<NodeInfo> {
  const daemon = new MyceliumDaemon({ ...settings, deadlineMs: PATIENCE_MS });
  try {
    return await daemon.admin();
  } catch (error) {
    throw new Error(`${errorText(error)}. Start mycelium on this host, or name its REST API with --mycelium-api.`, {
      cause: error,
    });
  } finally {
    daemon.close();
  }
}
