/** The server's end of a WebSocket that tells which limit was met when it closes a connection. */
import { WebSocket } from "ws";

/** RFC 6455 §7.4.1; ws closes with these where a limit is met, and gives no reason. */
const LIMITS: ReadonlyMap<number, string> = new Map([
  [1008, "max_fragments"],
  [1009, "max_body_bytes"],
]);

export class BoundedWebSocket extends WebSocket {
  override close(code?: number, reason?: string | Buffer): void {
    super.close(code, reason ?? LIMITS.get(code ?? 0));
  }
}
