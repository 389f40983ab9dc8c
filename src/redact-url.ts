/** URLs as messages and logs may show them. */

/** `redis://user:secret@host` with the secret cut out: to the last @, since one that nobody escaped may hold @ and / itself. */
export function redactUrl(url: string): string {
  return url.replace(/(\/\/[^:/?#@]*):.*@/su, "$1:***@");
}
