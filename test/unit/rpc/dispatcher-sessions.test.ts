import { describe, expect, test } from "vitest";

import type { Caller } from "../../../src/auth/policy.ts";
import { SupervisorError } from "../../../src/errors.ts";
import type { CallContext } from "../../../src/rpc/context.ts";
import type { DispatcherOptions } from "../../../src/rpc/dispatcher.ts";
import { METHODS } from "../../../src/rpc/methods.ts";
import {
  aCaller,
  aConnection,
  aDispatcher,
  ALICE,
  anError,
  aRequest,
  ask,
  authenticateByName,
} from "../../support/dispatcher.ts";

const bound: DispatcherOptions["sessions"] = {
  verify: async () => {
    throw new SupervisorError("wrongState");
  },
  find: async () => aCaller("root", "admin", "submitter"),
};

async function observer(): Promise<Caller> {
  return aCaller("olga", "observer");
}

async function down(): Promise<never> {
  throw new SupervisorError("unavailable");
}

describe("Dispatcher: bound connections", () => {
  test.each(Object.entries(METHODS).filter(([, { credential }]) => credential === "call"))(
    "%s needs no signature when it reads, and one when it changes",
    async (name, { effect, example }) => {
      const handler = aDispatcher({ sessions: bound });

      const answer = await ask(handler, aRequest(name, example.params));

      expect(answer).toMatchObject(effect === "read" ? { result: {} } : anError(-32001));
    },
  );

  test("verify a signature that is there, good or bad", async () => {
    const handler = aDispatcher({ sessions: bound });

    expect(await ask(handler, aRequest("whoami", ALICE))).toMatchObject({ result: { principal: "alice" } });
    for (const auth of ["mallory", null, {}, ""]) {
      expect(await ask(handler, aRequest("whoami", { auth }))).toMatchObject(anError(-32001));
    }
  });

  test("ask for a signature where nobody is bound, or not any more", async () => {
    const handler = aDispatcher({ sessions: { ...bound, find: async () => undefined } });

    expect(await ask(handler, aRequest("whoami"))).toMatchObject(anError(-32001));
  });

  test("do not serve anybody while it can not be asked whether the key is revoked", async () => {
    expect(await ask(aDispatcher({ sessions: { ...bound, find: down } }), aRequest("whoami"))).toMatchObject(
      anError(-32053),
    );
  });

  test("are held to the roles and the rate of the key", async () => {
    const handler = aDispatcher({ sessions: { ...bound, find: observer } });
    const limited = aDispatcher({ sessions: bound, keyLimit: () => 1500 });

    expect(await ask(handler, aRequest("get_job_logs", METHODS.get_job_logs.example.params))).toMatchObject(
      anError(-32003),
    );
    expect(await ask(limited, aRequest("whoami"))).toMatchObject(anError(-32029, { limit: "rate" }));
  });

  test("give a handler the caller and nothing that was signed, and the carrier whom it served", async () => {
    const contexts: CallContext[] = [];
    const list_peers = async (_params: object, context: CallContext) => {
      contexts.push(context);
      return { peers: [] };
    };
    const handler = aDispatcher({ sessions: bound, handlers: { list_peers } });

    const answer = await handler.handle(Buffer.from(JSON.stringify(aRequest("list_peers"))), aConnection());

    expect(contexts[0]?.caller).toMatchObject({ principal: "root", reach: "all" });
    expect(contexts[0]?.signedCall).toBeUndefined();
    expect(answer).toMatchObject({ principals: ["root"], keys: ["key of root"] });
  });
});

describe("Dispatcher: logins", () => {
  test("are verified with their connection, and never by a call's signature", async () => {
    const seen: unknown[] = [];
    const connection = aConnection();
    const handler = aDispatcher({
      sessions: {
        ...bound,
        verify: async (on, auth) => {
          seen.push(on === connection, auth);
          return (await authenticateByName({ method: "", auth })).caller;
        },
      },
    });

    expect(await ask(handler, aRequest("auth_login", ALICE), connection)).toMatchObject({ result: {} });
    expect(await ask(handler, aRequest("auth_login"), connection)).toMatchObject(anError(-32001));
    expect(seen).toStrictEqual([true, "alice", true, undefined]);
  });

  test("need a role, and count against the key's rate", async () => {
    expect(await ask(aDispatcher(), aRequest("auth_login", { auth: "nobody" }))).toMatchObject(anError(-32003));
    expect(await ask(aDispatcher({ keyLimit: () => 5 }), aRequest("auth_login", ALICE))).toMatchObject(anError(-32029));
  });
});

describe("Dispatcher: what follows an answer", () => {
  const get_info = async (_params: object, { afterAnswer }: CallContext): Promise<never> => {
    afterAnswer(() => done.push("get_info"));
    throw new SupervisorError("unavailable");
  };
  const list_jobs = async (_params: object, { afterAnswer }: CallContext) => {
    afterAnswer(() => done.push("list_jobs"));
    return { jobs: [] };
  };
  const handler = aDispatcher({ handlers: { get_info, list_jobs } });
  const done: string[] = [];

  test("waits until the carrier has sent it, singly or in a batch", async () => {
    for (const [message, expected] of [
      [aRequest("list_jobs", ALICE), ["list_jobs"]],
      [
        [aRequest("list_jobs", ALICE), aRequest("whoami", ALICE), aRequest("list_jobs", ALICE)],
        ["list_jobs", "list_jobs"],
      ],
    ] as const) {
      done.length = 0;
      const answer = await handler.handle(Buffer.from(JSON.stringify(message)), aConnection());
      expect(done).toStrictEqual([]);

      answer.afterSent?.();

      expect(done).toStrictEqual(expected);
    }
  });

  test("does not follow an error, and there is nothing where nothing follows", async () => {
    done.length = 0;
    const error = await handler.handle(Buffer.from(JSON.stringify(aRequest("get_info"))), aConnection());
    const plain = await handler.handle(Buffer.from(JSON.stringify(aRequest("whoami", ALICE))), aConnection());

    expect([error.afterSent, plain.afterSent]).toStrictEqual([undefined, undefined]);
    expect(done).toStrictEqual([]);
  });
});
