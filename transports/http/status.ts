/** What an HTTP status means to whoever would send the same once more; the handshake of a WebSocket is such a request too. */

const PASSING = new Set([408, 425, 429]);
/** Of the server's faults: it never does this (RFC 9110 §15.6.2, §15.6.6). */
const LASTING_FAULTS = new Set([501, 505]);

/** Whoever answered so answers the same bytes so again; what is the server's own trouble passes. */
export function isLasting(status: number): boolean {
  return status < 500 ? !PASSING.has(status) : LASTING_FAULTS.has(status);
}
