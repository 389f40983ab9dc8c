/** The examples of the method table: the documents of test/vectors/signing.json, so every signature in them is real. */
import type {
  JobDocument,
  JobSummary,
  JobView,
  RunnerDocument,
  RunnerView,
  SignedReceipt,
  SignedRunner,
  SignedTicket,
} from "./schema.ts";

export const EXAMPLE_KEYS = {
  caller: "ed25519:d04ab232742bb4ab3a1368bd4615e4e6d0224ab71a016baf8520a332c9778737",
  supervisor: "ed25519:a09aa5f47a6759802ff955f8dc2d2a14a5c99d23be97f864127ff9383455a4f0",
  runner: "ed25519:d759793bbc13a2819a827c76adb6fba8a49aee007f49f2d0992d99b825ad2c48",
  node: "x25519:bb39b4a3a4efd70f3e05e37887677e02efbda14681d0acd3882bc0f754792c32",
} as const;

const JOB: JobDocument = {
  aud: "ed25519:a09aa5f47a6759802ff955f8dc2d2a14a5c99d23be97f864127ff9383455a4f0",
  caller_id: "ed25519:d04ab232742bb4ab3a1368bd4615e4e6d0224ab71a016baf8520a332c9778737",
  context_id: "demo",
  created_at: 1790000000,
  env_vars: { CI: "1", LANG: "C.UTF-8" },
  executor: "sh",
  expires_at: 1790003600,
  id: "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b",
  payload: 'echo "héllo"\n',
  runner: "build",
  timeout: 60,
  v: 1,
};

export const JOB_ID = JOB.id;

export const SIGNED_JOB = {
  job: JOB,
  signatures: [
    {
      public_key: EXAMPLE_KEYS.caller,
      signature:
        "6c9c792018cde75e5e25fb549dc01709d1efb9275ebce197217a49b954137b0b4d48518d76db75a3bf8d3d467817ccc0f09de6af89e4b7441a55ec2b757e6207",
    },
  ],
};

const TICKET: SignedTicket = {
  body: {
    aud: "ed25519:a09aa5f47a6759802ff955f8dc2d2a14a5c99d23be97f864127ff9383455a4f0",
    exp: 1790003600,
    iat: 1790000030,
    id: "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b",
    job: "d3e00d685aedca9ce5b4f00dc95ce7e82eaf99a8bd85f3d2600ef793b78e4643",
    queue: "build",
    v: 1,
  },
  public_key: EXAMPLE_KEYS.supervisor,
  signature:
    "58247d7594487c330ec0d560e233031926e01b90738b34abe78803f6fb7c0195570d296729f7ac1ba77782a9fcf869e4eced87b3db355915a0bc8c0668ece807",
};

export const RECEIPT: SignedReceipt = {
  body: {
    attempt: 1,
    aud: "ed25519:a09aa5f47a6759802ff955f8dc2d2a14a5c99d23be97f864127ff9383455a4f0",
    caller_id: "ed25519:d04ab232742bb4ab3a1368bd4615e4e6d0224ab71a016baf8520a332c9778737",
    code: 0,
    finished_ms: 1790000031250,
    id: "0190a3b2-7c4d-7e5f-8a9b-0c1d2e3f4a5b",
    job: "d3e00d685aedca9ce5b4f00dc95ce7e82eaf99a8bd85f3d2600ef793b78e4643",
    logs: "2ab671cbdd70046b337e470d4f8137930a4d7f6c5385f729781007620d912bb6",
    logs_count: 3,
    queue: "build",
    result: "dc51b8c96c2d745df3bd5590d990230a482fd247123599548e0632fdbf97fc22",
    result_len: 3,
    runner: "ed25519:d759793bbc13a2819a827c76adb6fba8a49aee007f49f2d0992d99b825ad2c48",
    started_ms: 1790000031000,
    status: "completed",
    v: 1,
  },
  public_key: EXAMPLE_KEYS.runner,
  signature:
    "f1561660deb340d409a1ff10aa2099d3462baa801bb1547d8f117aecb2bc0c306df15b85030452d7c36bea3a9c6b6e6e9c4cce3b65f052c4e83fe32a7f20df01",
};

export const RUNNER_DOCUMENT: RunnerDocument = {
  aud: "ed25519:a09aa5f47a6759802ff955f8dc2d2a14a5c99d23be97f864127ff9383455a4f0",
  executors: ["sh"],
  exp: 1790000300,
  groups: ["build"],
  iat: 1790000000,
  key: "ed25519:d759793bbc13a2819a827c76adb6fba8a49aee007f49f2d0992d99b825ad2c48",
  name: "build-1",
  slots: 2,
  v: 1,
};

export const SIGNED_RUNNER: SignedRunner = {
  body: RUNNER_DOCUMENT,
  public_key: EXAMPLE_KEYS.runner,
  signature:
    "8fce0217f38c638e24c793c3bafd9b89db417b60d576f1e7a129c64d86ec9b530188bf09c5afa82519f4ef814a299f0c2695cd802f048088613cac4b71ca3a00",
};

export const JOB_SUMMARY: JobSummary = {
  id: JOB_ID,
  state: "completed",
  revision: 3,
  cancelling: false,
  principal: "alice",
  caller_id: EXAMPLE_KEYS.caller,
  digest: "d3e00d685aedca9ce5b4f00dc95ce7e82eaf99a8bd85f3d2600ef793b78e4643",
  queue: "build",
  context_id: "demo",
  priority: 5,
  attempt: 1,
  failures: 0,
  losses: 0,
  runner: "build-1",
  code: 0,
  admitted_ms: 1_790_000_030_000,
  started_ms: 1_790_000_031_000,
  finished_ms: 1_790_000_031_250,
  expires_at: JOB.expires_at,
  log_count: 3,
  log_bytes: 230,
};

export const JOB_VIEW: JobView = {
  ...JOB_SUMMARY,
  job: JOB,
  redacted: false,
  signatures: SIGNED_JOB.signatures,
  ticket: TICKET,
  result: { text: "ok\n" },
  receipt: RECEIPT,
};

export const RUNNER_VIEW: RunnerView = {
  name: "build-1",
  key: EXAMPLE_KEYS.runner,
  groups: ["build"],
  executors: ["sh"],
  slots: 2,
  state: "online",
  running: 0,
  waiting: 0,
  version: "0.1.0",
  registered_ms: 1_790_000_000_000,
  heartbeat_ms: 1_790_000_031_000,
};
