/** Methods of connections that last: logging in once, and following jobs by notifications. */
import { Type } from "typebox";

import { EXAMPLE_KEYS, JOB_ID } from "../examples.ts";
import { defineMethod } from "../method.ts";
import { Challenge, Count, JobId, PublicKey, SubscriptionId } from "../schema.ts";

const closed = { additionalProperties: false } as const;
const SUBSCRIPTION = "00000000000000a1";
/** As in test/vectors/signing.json. */
const CHALLENGE = "f".repeat(64);

export const authChallenge = defineMethod({
  summary: "Ask for a challenge to log in with",
  description:
    "WebSocket only. Random, good for one `auth_login` on this connection within a minute; a new one replaces the one " +
    "before. Elsewhere each call is signed.",
  params: Type.Object({}, closed),
  result: Type.Object(
    { challenge: Challenge, expires_at: Count("ExpiresAt", "UNIX seconds by the supervisor's clock") },
    { ...closed, title: "GivenChallenge" },
  ),
  errors: ["wrongState"],
  credential: "none",
  effect: "read",
  access: {},
  example: { params: {}, result: { challenge: CHALLENGE, expires_at: 1_790_000_080 } },
});

export const authLogin = defineMethod({
  summary: "Bind this connection to a key",
  description:
    "WebSocket only. `auth` signs the connection's challenge (kind `login`). From then on reads on this connection need " +
    "no `auth`, until it ends, the key loses its rights or 15 minutes are over. Whatever changes something is signed " +
    "call by call.",
  params: Type.Object({}, closed),
  result: Type.Object(
    {
      key: PublicKey,
      principal: Type.String({ title: "Principal", description: "Who owns the key" }),
      expires_at: Count("ExpiresAt", "UNIX seconds by the supervisor's clock"),
    },
    { ...closed, title: "Login" },
  ),
  errors: ["wrongState"],
  credential: "login",
  effect: "read",
  access: { submitter: "own", runner: "own", registrar: "own", observer: "own", admin: "own" },
  example: {
    params: {},
    result: { key: EXAMPLE_KEYS.caller, principal: "alice", expires_at: 1_790_000_930 },
  },
});

export const subscribeJob = defineMethod({
  summary: "Follow a job by notifications",
  description:
    "WebSocket only; elsewhere `wait_job` and the positions of `get_job_logs` serve. After the answer come notifications " +
    '`job_event` with `{subscription, seq, event}`; `event` is `{type: "state", job}`, `{type: "log", entry}` or, last of ' +
    'all, `{type: "end", reason}` (`terminal`, `deleted`, `rights`, `failed`). The present state comes first, a terminal ' +
    "one after the whole log; states that passed in between may be left out, log entries never are. After a cut " +
    "connection subscribe again with the last `seq` as `after`.",
  params: Type.Object(
    {
      id: JobId,
      after: Type.Optional(Count("After", "`seq` of the last event seen; from the beginning without it")),
      logs: Type.Optional(
        Type.Boolean({ title: "Logs", description: "Log entries too; true unless told, for who may read them" }),
      ),
    },
    closed,
  ),
  result: Type.Object(
    { subscription: SubscriptionId, logs: Type.Boolean({ title: "Logs", description: "Log entries come too" }) },
    { ...closed, title: "Subscription" },
  ),
  errors: ["notFound", "wrongState"],
  credential: "call",
  effect: "read",
  access: { submitter: "own", observer: "redacted", admin: "all" },
  example: { params: { id: JOB_ID }, result: { subscription: SUBSCRIPTION, logs: true } },
});

export const unsubscribeJob = defineMethod({
  summary: "Stop following a job",
  description: "WebSocket only. No notification of this subscription follows the answer.",
  params: Type.Object({ subscription: SubscriptionId }, closed),
  result: Type.Object(
    {
      subscription: SubscriptionId,
      ended: Type.Boolean({ title: "Ended", description: "By this call; false where there was none (any more)" }),
    },
    { ...closed, title: "EndedSubscription" },
  ),
  errors: ["wrongState"],
  credential: "call",
  effect: "read",
  access: { submitter: "own", observer: "redacted", admin: "all" },
  example: { params: { subscription: SUBSCRIPTION }, result: { subscription: SUBSCRIPTION, ended: true } },
});
