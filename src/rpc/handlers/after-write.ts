/** Reads that follow a write: their failure must not read as if the write had not happened. */
import { SupervisorError } from "../../errors.ts";

/** Carries out a read after a write was acknowledged; a store that is away then answers that the change was applied. */
export async function afterWrite<Value>(read: () => Promise<Value>): Promise<Value> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof SupervisorError) || error.name !== "unavailable") throw error;
    throw new SupervisorError("unavailable", { data: { ...error.data, applied: "yes" }, cause: error });
  }
}
