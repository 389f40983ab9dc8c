/** What a job's process gets, and what is kept of what it says. */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";

import { CANARY, type Candidate } from "../candidate.ts";
import { CannotPerform, type Check, expectSame, expectThat, type Stage } from "../check.ts";
import { type Ended, type JobWishes, linesOf, Proof } from "../job.ts";

async function run(stage: Stage, wishes: JobWishes, state: "completed" | "failed" = "completed"): Promise<Ended> {
  const candidate: Candidate = await stage.common();
  const job = await candidate.submit(wishes);
  return job.ended(state);
}

/** @throws CannotPerform where the system has no /proc */
function needProc(): void {
  if (!existsSync("/proc/self/environ")) throw new CannotPerform("needs /proc, which this system does not have");
}

const PROCESS = "What a job's process gets";
const OUTPUT = "What is kept of a job";

function numbered(word: string, count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `${word} ${index + 1}`);
}

/** The environment a job's process may have beside its own variables. */
const OWN_NAMES = ["HOME", "HORUS_ATTEMPT", "HORUS_JOB_ID", "HORUS_RESULT", "LANG", "PATH", "TRACEPARENT"];
const TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

export const EXECUTION_CHECKS: readonly Check[] = [
  {
    name: "completed",
    clause: "finish",
    does: "a job exits with 0",
    sees: "completed, code 0, attempt 1; receipt and log chain verify under the runner's key",
    async run(stage) {
      const { view } = await run(stage, { payload: "exit 0" });
      expectSame("code and attempt", [view.code, view.attempt], [0, 1]);
    },
  },
  {
    name: "exit-code",
    clause: "finish",
    does: "a job exits with 3, and one is killed by SIGKILL",
    sees: "failed with codes 3 and 137 and a reason",
    async run(stage) {
      const [exited, killed] = await Promise.all([
        run(stage, { payload: "exit 3" }, "failed"),
        run(stage, { payload: "kill -9 $$" }, "failed"),
      ]);
      expectSame("codes", [exited.view.code, killed.view.code], [3, 137]);
      expectThat((exited.view.reason ?? "") !== "", "a failed job says no reason");
    },
  },
  {
    name: "retry",
    clause: "finish",
    does: "a job with max_attempts 2 fails once",
    sees: "completed by attempt 2, one failure, log entries numbered from 1 in each attempt",
    async run(stage) {
      const { view, entries } = await run(stage, {
        payload: 'echo "attempt $HORUS_ATTEMPT"; [ "$HORUS_ATTEMPT" = 2 ]',
        max_attempts: 2,
      });
      expectSame("attempt and failures", [view.attempt, view.failures], [2, 1]);
      const numbers = entries.map(({ attempt, seq }) => [attempt, seq]);
      expectSame("attempts and numbers", numbers, [
        [1, 1],
        [2, 1],
      ]);
    },
  },
  {
    name: "payload-on-stdin",
    clause: PROCESS,
    does: "a payload of 100 KB reads its own command line and environment",
    sees: "it ran whole, and stands neither in an argument nor in the environment of any process it can see",
    async run(stage) {
      needProc();
      const mark = `mark${randomBytes(8).toString("hex")}`;
      const split = `${mark.slice(0, 8)}''${mark.slice(8)}`;
      const payload = [
        `: ${mark} ${"x".repeat(100_000)}`,
        // Not on the command line of the one that searches.
        `printf %s ${split} > pattern`,
        "grep -lsaf pattern /proc/[0-9]*/cmdline /proc/[0-9]*/environ || echo hidden",
        "echo whole",
      ].join("\n");
      const ended = await run(stage, { payload });
      expectSame("where the payload shows", linesOf(ended), ["hidden", "whole"]);
    },
  },
  {
    name: "environment",
    clause: PROCESS,
    does: "a job with two variables and a trace context prints the environment it was started with",
    sees: "its own variables, PATH, HOME, LANG, TRACEPARENT, HORUS_JOB_ID, HORUS_ATTEMPT, HORUS_RESULT, and nothing of the runner's",
    async run(stage) {
      needProc();
      const payload = "tr '\\0\\n' '\\n ' < /proc/$$/environ";
      const env_vars = { CI: "true", GREETING: "grüß dich" };
      const { view, entries } = await run(stage, { payload, env_vars, traceparent: TRACEPARENT });
      const lines = linesOf({ entries });
      const pairs = lines.map((line): [string, string] => [line.split("=", 1)[0] ?? "", line.replace(/^[^=]*=/u, "")]);
      const environment = new Map(pairs);
      expectThat(!lines.join("\n").includes(CANARY), "a variable of the runner's environment shows in the job");
      const expected = { ...env_vars, TRACEPARENT, HORUS_JOB_ID: view.id, HORUS_ATTEMPT: "1" };
      for (const [name, value] of Object.entries(expected)) expectSame(name, environment.get(name), value);
      expectSame("names", [...environment.keys()].toSorted(), ["CI", "GREETING", ...OWN_NAMES].toSorted());
    },
  },
  {
    name: "environment-refused",
    clause: PROCESS,
    does: "jobs ask for LD_PRELOAD, BASH_ENV and HORUS_JOB_ID, with three attempts allowed",
    sees: "failed with code -1 and a reason, not retried, nothing ran",
    async run(stage) {
      const candidate = await stage.common();
      const proof = new Proof(stage.site);
      for (const name of ["LD_PRELOAD", "BASH_ENV", "HORUS_JOB_ID"]) {
        const env_vars = { [name]: "x" };
        const job = await candidate.submit({ payload: `echo ran >> ${proof.path}`, env_vars, max_attempts: 3 });
        await job.refused();
        await job.ended("failed");
      }
      expectSame("what ran", await proof.lines(), []);
    },
  },
  {
    name: "executor-unknown",
    clause: PROCESS,
    does: "a job names an executor that the runner does not have, with three attempts allowed",
    sees: "failed with code -1 and a reason, not retried, nothing ran",
    async run(stage) {
      const candidate = await stage.common();
      const proof = new Proof(stage.site);
      const job = await candidate.submit({ payload: `echo ran > ${proof.path}`, executor: "nothing", max_attempts: 3 });
      await job.refused();
      await job.ended("failed");
      expectSame("what ran", await proof.lines(), []);
    },
  },
  {
    name: "working-directory",
    clause: PROCESS,
    does: "two jobs print their working directory, leave a file there, and try to read it back",
    sees: "two directories, each empty at the start and gone at the end",
    async run(stage) {
      const payload = "pwd; ls -A; echo left > file";
      const ended = await Promise.all([run(stage, { payload }), run(stage, { payload })]);
      const directories = ended.map((each) => linesOf(each));
      expectThat(
        directories.every((lines) => lines.length === 1),
        `a working directory is not empty: ${directories.flat().join(", ")}`,
      );
      const [[first = ""] = [], [second = ""] = []] = directories;
      expectThat(first !== second, "two jobs work in one directory");
      const [job] = ended;
      const candidate = await stage.common();
      await candidate.expectGoesOn();
      expectThat(!existsSync(first) && !existsSync(second), `a working directory of job ${job?.view.id ?? ""} is left`);
    },
  },
  {
    name: "process-group",
    clause: PROCESS,
    does: "a job looks at its process group, session and open files",
    sees: "it leads a group of its own, and no descriptor of the runner's is open in it",
    async run(stage) {
      needProc();
      const payload = 'cut -d" " -f5 < /proc/$$/stat; echo $$; ls -l /proc/$$/fd | grep -o "[0-9]* -> .*"';
      const [group, pid, ...descriptors] = linesOf(await run(stage, { payload }));
      expectSame("process group", group, pid);
      const foreign = descriptors.filter(
        (line) => Number(line.split(" ", 1)[0]) > 2 && /socket:|redis|seen/u.test(line),
      );
      expectSame("open descriptors of the runner", foreign, []);
    },
  },
  {
    name: "streams",
    clause: OUTPUT,
    does: "a job writes 250 lines to standard output and 3 to standard error, the last without an end",
    sees: "every line once, in the order of its stream",
    async run(stage) {
      const payload =
        'for i in $(seq 250); do echo "out $i"; done; for i in 1 2; do echo "err $i" >&2; done; printf "err 3" >&2';
      const ended = await run(stage, { payload });
      expectSame("standard output", linesOf(ended), numbered("out", 250));
      expectSame("standard error", linesOf(ended, "stderr"), numbered("err", 3));
    },
  },
  {
    name: "utf8-and-base64",
    clause: OUTPUT,
    does: "a job prints an empty line, text beyond ASCII with controls and quotes, and bytes that are no UTF-8",
    sees: "text as text, the other bytes as base64, and a chain over exactly these entries",
    async run(stage) {
      const payload = String.raw`echo; printf 'grün "\\" \t\001\177 \360\237\246\205\342\200\250\n'; printf 'a\377\376b\n'`;
      const lines = linesOf(await run(stage, { payload }));
      const bytes = Buffer.from([0x61, 0xff, 0xfe, 0x62]).toString("base64");
      expectSame("lines", lines, ["", 'grün "\\" \t\u0001\u007f 🦅\u2028', `base64:${bytes}`]);
    },
  },
  {
    name: "log-while-running",
    clause: "append",
    does: "a job prints a line and then waits",
    sees: "the line is stored while the job runs",
    async run(stage) {
      const candidate = await stage.common();
      const proof = new Proof(stage.site);
      const job = await candidate.submit({ payload: `echo now; until [ -e ${proof.path}.go ]; do sleep 0.05; done` });
      await job.when("the line is stored", ({ logCount, state }) => logCount === 1 && state === "running");
      await proof.letGo();
      await job.ended("completed");
    },
  },
  {
    name: "result",
    clause: OUTPUT,
    does: "jobs write text, bytes and nothing into the file that HORUS_RESULT names",
    sees: "the result as text, as base64, and none; hash and length in the receipt",
    async run(stage) {
      const payloads = ["printf 'forty-two ½' > $HORUS_RESULT", "printf '\\377\\000' > $HORUS_RESULT", "true"];
      const results: unknown[] = [];
      for (const payload of payloads) {
        const { view } = await run(stage, { payload });
        results.push([view.result ?? null, view.receipt?.body.result_len]);
      }
      const bytes = Buffer.from([0xff, 0]).toString("base64");
      expectSame("results", results, [
        [{ text: "forty-two ½" }, 12],
        [{ base64: bytes }, 2],
        [null, 0],
      ]);
    },
  },
];
