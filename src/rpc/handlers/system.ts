/** Handlers about the supervisor and the caller. */
import type { Handlers } from "../context.ts";
import type { Result } from "../methods.ts";
import type { Listener, PeerSeen } from "../transport.ts";
import { callerOf } from "./jobs.ts";

export type SystemHandlers = Pick<Handlers, "get_info" | "whoami" | "list_peers" | "rpc.discover">;

export interface SystemHandlerOptions {
  readonly version: string;
  readonly identity: string;
  readonly limits: Readonly<Record<string, number>>;
  durability(): string;
  /** The listeners as they are now; they are made after the handlers. */
  listeners(): readonly Listener[];
  openRpc(): Readonly<Record<string, unknown>>;
  readonly now: () => number;
}

export function createSystemHandlers(options: SystemHandlerOptions): SystemHandlers {
  return {
    get_info: async () => ({
      name: "horus-supervisor",
      version: options.version,
      identity: options.identity,
      time: Math.floor(options.now() / 1000),
      durability: options.durability(),
      transports: options.listeners().map(toTransportInfo),
      limits: options.limits,
    }),

    whoami: async (_params, context) => {
      const { key, name, principal, roles, runners } = callerOf(context);
      return { key, name, principal, roles: [...roles], runners: [...runners] };
    },

    list_peers: async () => ({
      peers: options
        .listeners()
        .flatMap((listener) => listener.peersSeen?.() ?? [])
        .map(toPeerInfo),
    }),

    "rpc.discover": async () => options.openRpc(),
  };
}

function toPeerInfo({ roundTripMs, ...peer }: PeerSeen): Result<"list_peers">["peers"][number] {
  return {
    node: peer.node,
    address: peer.address,
    last_message_ms: peer.lastMessageMs,
    calls: peer.calls,
    refused: peer.refused,
    ...(roundTripMs === undefined ? {} : { round_trip_ms: roundTripMs }),
  };
}

function toTransportInfo(listener: Listener): Result<"get_info">["transports"][number] {
  const { name, isUp, url, detail } = listener.status();
  return { name, up: isUp, ...(url === undefined ? {} : { url }), ...(detail === undefined ? {} : { detail }) };
}
