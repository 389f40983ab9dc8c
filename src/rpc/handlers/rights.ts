/** The rights of a caller who waits: they may end meanwhile, here or at another supervisor. */
import { reachOf } from "../../auth/policy.ts";
import type { Sessions } from "../../auth/session.ts";
import { SupervisorError } from "../../errors.ts";
import type { CallContext } from "../context.ts";
import { METHODS, type MethodName } from "../methods.ts";

/**
 * Makes what is asked at each look, after what is read was asked for: what is told was read while the rights held. The
 * first time it costs nothing: the call has just been authenticated. What is made throws `unauthenticated` once the key is revoked, `forbidden` when its roles reach less far or farther, or it is another principal's.
 */
export function createRightsCheck(
  sessions: Pick<Sessions, "callerOf">,
  method: MethodName,
  { caller, connection }: Pick<CallContext, "caller" | "connection">,
): () => Promise<void> {
  let isFirst = true;
  return async () => {
    if (isFirst) {
      isFirst = false;
      return;
    }
    const present = caller && (await sessions.callerOf(connection, caller.key));
    if (present === undefined) throw new SupervisorError("unauthenticated");
    // Moved to another principal: the job was found by the one before.
    const isSame = present.principal === caller?.principal;
    if (!isSame || reachOf(present.roles, METHODS[method].access) !== caller.reach)
      throw new SupervisorError("forbidden");
  };
}
