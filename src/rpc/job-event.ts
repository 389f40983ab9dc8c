/** What subscriptions push: the notification `job_event` (spec: api, "Methods"). */
import { type Static, Type } from "typebox";

import { Count, JobSummary, LogEntry, SubscriptionId } from "./schema.ts";

const closed = { additionalProperties: false } as const;

/** The job's state, of a revision not told before. */
export const StateEvent = Type.Object(
  { type: Type.Literal("state"), job: JobSummary },
  { ...closed, title: "StateEvent" },
);
/** The next entry of its log. */
export const LogEvent = Type.Object({ type: Type.Literal("log"), entry: LogEntry }, { ...closed, title: "LogEvent" });
/** Nothing more will come: the job has ended and all is told, it was deleted, rights ended, or the supervisor failed. */
export const EndEvent = Type.Object(
  {
    type: Type.Literal("end"),
    reason: Type.Enum(["terminal", "deleted", "rights", "failed"], { title: "EndReason" }),
  },
  { ...closed, title: "EndEvent" },
);
export type JobEvent = Static<typeof StateEvent> | Static<typeof LogEvent> | Static<typeof EndEvent>;

/** Parameters of `job_event`, whatever happened. */
export const JobEventHead = Type.Object(
  {
    subscription: SubscriptionId,
    seq: Count("Seq", "Rises with every event but the end; the last one seen is the `after` of a resumed subscription"),
    event: Type.Unknown({ title: "Event" }),
  },
  { title: "JobEventHead" },
);
export type JobEventParams = Omit<Static<typeof JobEventHead>, "event"> & { readonly event: JobEvent };
