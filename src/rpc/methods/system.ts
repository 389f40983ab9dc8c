/** Methods about the supervisor and the caller. */
import { Type } from "typebox";

import { EXAMPLE_KEYS } from "../examples.ts";
import { defineMethod, ROLES } from "../method.ts";
import { Count, Milliseconds, NodeKey, PublicKey } from "../schema.ts";

const closed = { additionalProperties: false } as const;
const text = (title: string, description: string) => Type.String({ title, description });

const TransportInfo = Type.Object(
  {
    name: text("TransportName", "http, websocket or mycelium"),
    up: Type.Boolean({ title: "Up" }),
    url: Type.Optional(text("Url", "Where callers reach it")),
    detail: Type.Optional(text("Detail", "Why it is not up")),
  },
  { ...closed, title: "TransportInfo" },
);

const Limits = Type.Unsafe<Readonly<Record<string, number>>>({
  title: "Limits",
  type: "object",
  description: "Every limit by its setting's name",
  additionalProperties: { type: "number" },
});

export const getInfo = defineMethod({
  summary: "Who this supervisor is",
  description:
    "Identity, time, version, durability, limits and transports. To be compared with a pinned identity, never believed.",
  params: Type.Object({}, closed),
  result: Type.Object(
    {
      name: text("ProgramName", "horus-supervisor"),
      version: text("Version", "Program version"),
      identity: PublicKey,
      time: Count("Time", "UNIX seconds by the supervisor's clock"),
      durability: text("Durability", "memory, everysec, always or replicated(n)"),
      transports: Type.Array(TransportInfo, { title: "Transports" }),
      limits: Limits,
    },
    { ...closed, title: "Info" },
  ),
  errors: [],
  credential: "none",
  effect: "read",
  access: {},
  example: {
    params: {},
    result: {
      name: "horus-supervisor",
      version: "0.1.0",
      identity: EXAMPLE_KEYS.supervisor,
      time: 1_790_000_030,
      durability: "everysec",
      transports: [{ name: "http", up: true, url: "http://127.0.0.1:8080" }],
      limits: { max_payload_bytes: 262_144 },
    },
  },
});

export const whoami = defineMethod({
  summary: "What the policy knows of the calling key",
  description: "Key, principal, roles and granted runners.",
  params: Type.Object({}, closed),
  result: Type.Object(
    {
      key: PublicKey,
      name: text("KeyName", "The key's name in keys.toml"),
      principal: text("Principal", "Who owns the key"),
      roles: Type.Array(Type.Enum([...ROLES], { title: "Role" }), { title: "Roles" }),
      runners: Type.Array(text("RunnerPattern", "A name, or a prefix with *"), { title: "GrantedRunners" }),
    },
    { ...closed, title: "Whoami" },
  ),
  errors: [],
  credential: "call",
  effect: "read",
  access: { submitter: "own", runner: "own", registrar: "own", observer: "own", admin: "own" },
  example: {
    params: {},
    result: {
      key: EXAMPLE_KEYS.caller,
      name: "alice-laptop",
      principal: "alice",
      roles: ["submitter"],
      runners: ["build", "gpu-*"],
    },
  },
});

export const listPeers = defineMethod({
  summary: "Overlay nodes seen",
  description: "Who carried messages to this node since it started; a node is never a caller.",
  params: Type.Object({}, closed),
  result: Type.Object(
    {
      peers: Type.Array(
        Type.Object(
          {
            node: NodeKey,
            address: text("Address", "Overlay address"),
            last_message_ms: Milliseconds("LastMessageMs", "UNIX ms"),
            calls: Count("Calls", "Messages taken"),
            refused: Count("Refused", "Messages dropped or refused"),
            round_trip_ms: Type.Optional(
              Milliseconds("RoundTripMs", "An answer and its receipt, last measured; absent until then"),
            ),
          },
          { ...closed, title: "PeerInfo" },
        ),
        { title: "Peers" },
      ),
    },
    { ...closed, title: "PeerList" },
  ),
  errors: [],
  credential: "call",
  effect: "read",
  access: { observer: "all", admin: "all" },
  example: {
    params: {},
    result: {
      peers: [
        {
          node: EXAMPLE_KEYS.node,
          address: "5c4:c176:bf44:b2ab::1",
          last_message_ms: 1_790_000_030_000,
          calls: 3,
          refused: 0,
          round_trip_ms: 64,
        },
      ],
    },
  },
});

export const discover = defineMethod({
  summary: "The OpenRPC document",
  description: "This API, described.",
  params: Type.Object({}, closed),
  result: Type.Unsafe<Readonly<Record<string, unknown>>>({ title: "OpenRpcDocument", type: "object" }),
  errors: [],
  credential: "none",
  effect: "read",
  access: {},
  example: { params: {}, result: { openrpc: "1.3.2" } },
});
