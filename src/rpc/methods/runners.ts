/** The runner methods of the table. */
import { Type } from "typebox";

import { canonicalText } from "../../auth/canonical-json.ts";
import { exampleAuth } from "../example-auths.ts";
import { RUNNER_DOCUMENT, RUNNER_VIEW, SIGNED_RUNNER } from "../examples.ts";
import { defineMethod } from "../method.ts";
import { Count, Name, RunnerDocument, RunnerView, Signature, SignedRunner } from "../schema.ts";

const closed = { additionalProperties: false } as const;
const REGISTRATION = { registration: RUNNER_DOCUMENT, signature: SIGNED_RUNNER.signature };

/** What get_runner_status gives for the example's runner, enrolled by the example's register_runner call. */
export const RUNNER_STATUS = {
  ...RUNNER_VIEW,
  registration: SIGNED_RUNNER,
  enrolled_by: textOf({ ...exampleAuth("register_runner"), method: "register_runner", params: REGISTRATION }),
};

function textOf(body: object): string {
  const canonical = canonicalText(body);
  return canonical.ok ? canonical.text : "";
}

export const registerRunner = defineMethod({
  summary: "Register a runner",
  description:
    "Enrols a runner's key under its name and groups. The registration is signed by the runner's own key (proof of " +
    "possession), the call by a registrar or by that key where it is enrolled. The same again succeeds.",
  params: Type.Object({ registration: RunnerDocument, signature: Signature }, closed),
  result: RunnerView,
  errors: ["forbidden", "stale", "wrongAudience", "conflict"],
  credential: "call",
  effect: "change",
  access: { registrar: "all", runner: "own", admin: "all" },
  example: {
    params: REGISTRATION,
    result: RUNNER_VIEW,
  },
});

export const listRunners = defineMethod({
  summary: "List runners with their health",
  description: "Submitters see the runners granted to their key, runners themselves; the others see all.",
  params: Type.Object({}, closed),
  result: Type.Object({ runners: Type.Array(RunnerView, { title: "Runners" }) }, { ...closed, title: "Runners" }),
  errors: [],
  credential: "call",
  effect: "read",
  access: { submitter: "own", runner: "own", registrar: "all", observer: "all", admin: "all" },
  example: { params: {}, result: { runners: [RUNNER_VIEW] } },
});

export const getRunnerStatus = defineMethod({
  summary: "Read one runner's health",
  description:
    "Evidence (last heartbeat, claim, finish, jobs in flight), the signed registration that enrolled it, and the signed " +
    "call that brought it: with a pinned registrar's key both together are a root of trust for the runner's receipts.",
  params: Type.Object({ name: Name }, closed),
  result: Type.Object(
    {
      ...RunnerView.properties,
      registration: SignedRunner,
      enrolled_by: Type.String({
        title: "EnrolledBy",
        description: "Canonical text of the register_runner call: the signed body with `sig` added",
      }),
    },
    { ...closed, title: "RunnerStatus" },
  ),
  errors: ["notFound"],
  credential: "call",
  effect: "read",
  access: { submitter: "own", runner: "own", registrar: "all", observer: "all", admin: "all" },
  example: { params: { name: "build-1" }, result: RUNNER_STATUS },
});

export const removeRunner = defineMethod({
  summary: "Remove a runner",
  description:
    "Ends its enrolment. Refused while jobs wait that only it could take, unless `force`, which cancels them.",
  params: Type.Object(
    { name: Name, force: Type.Optional(Type.Boolean({ title: "Force", description: "Cancel the jobs that wait" })) },
    closed,
  ),
  result: Type.Object(
    { name: Name, removed: Type.Literal(true, { title: "Removed" }), cancelled: Count("Cancelled", "Jobs cancelled") },
    { ...closed, title: "RemovedRunner" },
  ),
  errors: ["notFound", "wrongState"],
  credential: "call",
  effect: "change",
  access: { registrar: "all", runner: "own", admin: "all" },
  example: { params: { name: "build-1" }, result: { name: "build-1", removed: true, cancelled: 0 } },
});
