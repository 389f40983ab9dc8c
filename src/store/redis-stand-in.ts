/** The module of a stand-in's thread over Redis. */
import { serveStandIn } from "../runner/stand-in-thread.ts";
import { createRenewer } from "./redis-renewer.ts";

serveStandIn(createRenewer);
