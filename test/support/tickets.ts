/** The ticket of the examples: what admission signs for the example job. */
import { JOB_VIEW } from "../../src/rpc/examples.ts";

export const JSON_TICKET = JOB_VIEW.ticket;
