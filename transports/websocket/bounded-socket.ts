/** The server's end of a WebSocket: tells which limit was met when it closes, and how long closing may take. */
import { WebSocket } from "ws";

/** RFC 6455 §7.4.1; ws closes with these where a limit is met, and gives no reason. */
const LIMITS: ReadonlyMap<number, string> = new Map([
  [1008, "max_fragments"],
  [1009, "max_body_bytes"],
]);
/** Looks at what has left within the time to answer. */
const LOOKS = 5;

/**
 * A class of sockets that are cut when the other side did not answer the close frame within `answerMs` after it left. ws
 * counts from the call of close(): a reader with megabytes before that frame would be cut before it can learn why.
 */
export function boundedSocket(answerMs: number): typeof WebSocket {
  return class BoundedSocket extends WebSocket {
    #looks: NodeJS.Timeout | undefined;

    override close(code?: number, reason?: string | Buffer): void {
      super.close(code, reason ?? LIMITS.get(code ?? 0));
      if (this.#looks === undefined && this.readyState === this.CLOSING) this.#awaitAnswer();
    }

    #awaitAnswer(): void {
      let idleLooks = 0;
      this.#looks = setInterval(() => {
        idleLooks = this.bufferedAmount === 0 ? idleLooks + 1 : 0;
        if (idleLooks > LOOKS) this.terminate();
      }, answerMs / LOOKS);
      this.once("close", () => clearInterval(this.#looks));
    }
  };
}
