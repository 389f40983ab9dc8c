/** URLs as messages and logs may show them. */

/** `redis://user:secret@host` with the secret cut out. */
export function redactUrl(url: string): string {
  return url.replace(/(\/\/[^:/?#@]*):[^@/]*@/u, "$1:***@");
}
