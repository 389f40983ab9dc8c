/** Where Redis is: the forms of `--redis-url` as what ioredis takes. */

interface Login {
  readonly username?: string;
  readonly password?: string;
  /** Present: TLS with the system's authorities. */
  readonly tls?: object;
}

interface Address {
  readonly host: string;
  readonly port: number;
}

type ServerOptions = Login & ({ readonly path: string } | (Address & { readonly db?: number }));
interface SentinelOptions extends Login {
  readonly sentinels: Address[];
  readonly name: string;
  readonly enableTLSForSentinelMode?: boolean;
  readonly sentinelTLS?: object;
}

/** How Redis is reached, in ioredis' words. `shown` names it without user and password. */
export type RedisTarget =
  | { readonly kind: "single"; readonly options: ServerOptions; readonly shown: string }
  | { readonly kind: "sentinel"; readonly options: SentinelOptions; readonly shown: string }
  | { readonly kind: "cluster"; readonly nodes: readonly Address[]; readonly options: Login; readonly shown: string };

const FORMS =
  "redis://[user:password@]host:port[/db], rediss://…, unix:///path, redis+sentinel://host:port,host:port/master or " +
  "redis+cluster://host:port,host:port";
/** scheme, user, password, hosts, path. Hosts may be a list, which URL does not parse. */
const FORM = /^(rediss?(?:\+(?:sentinel|cluster))?):\/\/(?:([^:@/]*)(?::([^@/]*))?@)?([^/@]+)(?:\/([^/?]*))?$/u;

interface Parts {
  readonly scheme: string;
  readonly user: string;
  readonly password: string;
  readonly hosts: string;
  readonly path: string;
}

/** @throws Error naming the accepted forms; it never repeats the URL, which may hold a password. */
export function parseRedisUrl(url: string): RedisTarget {
  const socket = /^(?:unix:\/\/)?(\/.+)$/u.exec(url)?.[1];
  if (socket !== undefined) return { kind: "single", options: { path: socket }, shown: socket };
  const [, scheme = "", user = "", password = "", hosts = "", path = ""] = FORM.exec(url) ?? [];
  if (hosts === "") throw badUrl();
  const parts = { scheme, user, password, hosts, path };
  if (scheme.endsWith("+cluster")) return toCluster(parts);
  return scheme.endsWith("+sentinel") ? toSentinel(parts) : toSingle(parts);
}

function credentials({ scheme, user, password }: Parts): Login {
  // A password alone is the default user's, by name: Redis then takes it also where that user needs none, which without
  // the name is an error that ioredis prints to the console.
  const username = user === "" && password !== "" ? "default" : decodeURIComponent(user);
  return {
    ...(username === "" ? {} : { username }),
    ...(password === "" ? {} : { password: decodeURIComponent(password) }),
    ...(scheme.startsWith("rediss") ? { tls: {} } : {}),
  };
}

function toSingle(parts: Parts): RedisTarget {
  const { scheme, hosts, path } = parts;
  const [node, ...others] = hosts.split(",").map(parseHost);
  if (node === undefined || others.length > 0 || !/^\d{0,5}$/u.test(path)) throw badUrl();
  const db = path === "" ? {} : { db: Number(path) };
  return { kind: "single", options: { ...credentials(parts), ...node, ...db }, shown: `${scheme}://${hosts}` };
}

function toCluster(parts: Parts): RedisTarget {
  const { scheme, hosts } = parts;
  const nodes = hosts.split(",").map(parseHost);
  return { kind: "cluster", nodes, options: credentials(parts), shown: `${scheme}://${hosts}` };
}

/** User and password are the master's; Sentinels with a password of their own are not served. */
function toSentinel(parts: Parts): RedisTarget {
  const { scheme, hosts, path } = parts;
  if (path === "") throw badUrl();
  const secure = scheme.startsWith("rediss") ? { enableTLSForSentinelMode: true, sentinelTLS: {} } : {};
  const sentinels = hosts.split(",").map(parseHost);
  const options = { ...credentials(parts), ...secure, sentinels, name: decodeURIComponent(path) };
  return { kind: "sentinel", options, shown: `${scheme}://${hosts}/${path}` };
}

function parseHost(text: string): Address {
  const [, host, port] = /^(\[[0-9a-fA-F:.]+\]|[^:[\]]+)(?::(\d{1,5}))?$/u.exec(text) ?? [];
  if (host === undefined) throw badUrl();
  return { host: host.replace(/^\[(.*)\]$/u, "$1"), port: Number(port ?? 6379) };
}

function badUrl(): Error {
  return new Error(`The Redis URL is not one of: ${FORMS}.`);
}
