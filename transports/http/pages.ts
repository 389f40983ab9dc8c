/** What can be read with GET: health, readiness, metrics, the OpenRPC document, and a word for people. */
import { type Fault, shown } from "./fault.ts";
import { splitTarget } from "./guard.ts";
import type { HttpOptions, ReadinessReport } from "./options.ts";
import type { Page } from "./reply.ts";

const JSON_TYPE = "application/json";
const TEXT_TYPE = "text/plain; charset=utf-8";
/** Prometheus text exposition format. */
const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

export interface PageOptions extends Pick<HttpOptions, "readiness" | "openrpc" | "metrics"> {
  /** Where the listener is reached. */
  url(): string;
}

/** Paths that take calls. */
export function isCallPath(path: string): boolean {
  return path === "/" || path === "/rpc";
}

/** The path of a request target, without its query; also of one that names the host (RFC 9112 §3.2.2). */
export function pathOf(target: string | undefined): string {
  const url = target ?? "/";
  const path = url.startsWith("/") ? url : (splitTarget(url)?.path ?? url);
  const query = path.indexOf("?");
  return query < 0 ? path : path.slice(0, query);
}

/** The page at a path, or why there is none; `method` is anything but a call's POST. */
export async function findPage(method: string | undefined, path: string, options: PageOptions): Promise<Page | Fault> {
  const page = pageAt(path, options);
  if (page === undefined && !isCallPath(path)) {
    return { status: 404, error: `Nothing at ${shown(path)}`, fix: "Calls go to /, see GET / for the rest." };
  }
  if (page !== undefined && (method === "GET" || method === "HEAD")) return page();
  const allow = [...(page === undefined ? [] : ["GET", "HEAD"]), ...(isCallPath(path) ? ["POST"] : [])].join(", ");
  return { status: 405, error: `${shown(method ?? "")} is not served at ${path}`, fix: `Use ${allow}.`, allow };
}

function pageAt(path: string, options: PageOptions): (() => Promise<Page>) | undefined {
  switch (path) {
    case "/":
      return async () => ({ status: 200, type: TEXT_TYPE, text: welcome(options.url()) });
    case "/healthz":
      return async () => ({ status: 200, type: JSON_TYPE, text: '{"status":"ok"}\n' });
    case "/readyz":
      return async () => toReadiness(await options.readiness());
    case "/openrpc.json":
      return async () => ({ status: 200, type: JSON_TYPE, text: options.openrpc() });
    case "/metrics":
      if (options.metrics === undefined) return undefined;
      return async () => ({ status: 200, type: METRICS_TYPE, text: (await options.metrics?.()) ?? "" });
    default:
      return undefined;
  }
}

function toReadiness(report: ReadinessReport): Page {
  return { status: report.ready ? 200 : 503, type: JSON_TYPE, text: `${JSON.stringify(report)}\n` };
}

/** For a person who looks with a browser. */
function welcome(url: string): string {
  return `Horus supervisor: takes signed jobs and hands them to runners.

POST /               JSON-RPC 2.0, Content-Type: application/json
GET  /openrpc.json   the API, described (also: method rpc.discover)
GET  /healthz        this process lives
GET  /readyz         what it needs is there, or what is not
GET  /metrics        Prometheus, where it is switched on

Try:
  curl -s ${url} -H 'Content-Type: application/json' \\
    -d '{"jsonrpc":"2.0","id":1,"method":"get_info"}'
`;
}
