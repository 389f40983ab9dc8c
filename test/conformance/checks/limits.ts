/** What a runner cuts, and that it says so. */
import { type Check, expectSame, expectThat, type Stage } from "../check.ts";
import { type Ended, linesOf, Proof } from "../job.ts";
import { MAX_LOG_BYTES } from "../site.ts";

const CLAUSE = "What is kept of a job";
/** Defaults of the settings, which the protocol page names. */
const MAX_LINE_BYTES = 16 * 1024;
const MAX_RESULT_BYTES = 256 * 1024;
/** What the store lets through beyond the cap, for markers. */
const MARKER_BYTES = 64 * 1024;

async function run(stage: Stage, payload: string, state: "completed" | "failed" = "completed"): Promise<Ended> {
  const candidate = await stage.common();
  const job = await candidate.submit({ payload, max_attempts: 3 });
  return job.ended(state);
}

export const LIMIT_CHECKS: readonly Check[] = [
  {
    name: "log-cap",
    clause: CLAUSE,
    does: `a job prints ten times as much as a log may hold (${MAX_LOG_BYTES} bytes)`,
    sees: "completed; the log holds its beginning, not more than the cap and its markers, and a line of the runner that says it was cut",
    async run(stage) {
      const line = "x".repeat(90);
      const ended = await run(stage, `for i in $(seq ${MAX_LOG_BYTES / 10}); do echo ${line}; done`);
      const { view, entries } = ended;
      expectThat(view.log_bytes <= MAX_LOG_BYTES + MARKER_BYTES, `the log holds ${view.log_bytes} bytes`);
      expectThat(view.log_bytes > MAX_LOG_BYTES / 2, `the log holds ${view.log_bytes} bytes only`);
      const lines = linesOf(ended);
      expectThat(
        lines.every((each) => each === line),
        "a line of the log is not one the job printed",
      );
      const first = entries.findIndex(({ stream }) => stream === "system");
      expectThat(first > 0, "no line of the runner says that the log was cut");
    },
  },
  {
    name: "long-line",
    clause: CLAUSE,
    does: "a job prints one line of 60,000 bytes, in characters of several bytes",
    sees: "several entries of at most 16 KiB each between two lines of the runner, and together the same bytes",
    async run(stage) {
      const ended = await run(stage, "printf 'a½%.0s' $(seq 20000); echo; echo after");
      const lines = linesOf(ended);
      const bytes = lines.map((line) =>
        line.startsWith("base64:") ? Buffer.from(line.slice(7), "base64") : Buffer.from(line),
      );
      expectThat(
        bytes.every(({ length }) => length <= MAX_LINE_BYTES),
        "an entry is longer than a line may be",
      );
      expectSame("bytes", Buffer.concat(bytes).toString(), `${"a½".repeat(20_000)}after`);
      expectSame("the last line", lines.at(-1), "after");
      expectSame("lines of the runner around the parts", linesOf(ended, "system").length, 2);
    },
  },
  {
    name: "result-too-large",
    clause: CLAUSE,
    does: "a job with three attempts writes one byte more than a result may have, and exits with 0",
    sees: "failed for good in the first attempt, with a reason, no result, and a receipt for an empty one",
    async run(stage) {
      const { view } = await run(stage, `head -c ${MAX_RESULT_BYTES + 1} /dev/zero > $HORUS_RESULT`, "failed");
      expectSame("result", [view.result ?? null, view.receipt?.body.result_len], [null, 0]);
      expectSame("attempt and code", [view.attempt, view.code], [1, 0]);
      expectThat(/result/u.test(view.reason ?? ""), `the reason says nothing of the result: ${view.reason ?? ""}`);
    },
  },
  {
    name: "result-at-the-limit",
    clause: CLAUSE,
    does: "a job writes exactly as much as a result may have",
    sees: "completed with all of it",
    async run(stage) {
      const { view } = await run(stage, `head -c ${MAX_RESULT_BYTES} /dev/zero > $HORUS_RESULT`);
      expectSame("length", view.receipt?.body.result_len, MAX_RESULT_BYTES);
    },
  },
  {
    name: "result-is-a-link",
    clause: CLAUSE,
    does: "jobs put a link to a file of the host, and a FIFO that nobody writes to, where the result is read",
    sees: "both end failed, without a result",
    async run(stage) {
      const proof = new Proof(stage.site);
      const payloads = [`echo secret > ${proof.path}; ln -s ${proof.path} $HORUS_RESULT`, "mkfifo $HORUS_RESULT"];
      for (const payload of payloads) {
        const { view } = await run(stage, payload, "failed");
        expectSame("result", view.result ?? null, null);
      }
    },
  },
];
