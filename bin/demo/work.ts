/** The demo's job: real work on real files of this package, with progress for some seconds. */

/** A bash script that counts, hashes and reports; its result goes into the file that $HORUS_RESULT names. */
export function demoScript(directory: string): string {
  return `set -eu
cd '${directory.replaceAll("'", String.raw`'\''`)}'
echo "job $HORUS_JOB_ID, attempt $HORUS_ATTEMPT, on $(uname -n)"
files=$(find . -path ./node_modules -prune -o -type f \\( -name '*.ts' -o -name '*.js' -o -name '*.lua' -o -name '*.md' \\) -print | sort)
total=$(printf '%s\\n' "$files" | wc -l)
done=0
lines=0
for file in $files; do
  lines=$((lines + $(wc -l < "$file")))
  done=$((done + 1))
  if [ $((done % (total / 5 + 1))) -eq 0 ]; then echo "counted $done of $total files, $lines lines so far"; sleep 0.5; fi
done
echo "counted $total files"
hash=$(sha256sum package.json | cut -d' ' -f1)
echo "package.json is $hash" >&2
printf '{"files":%s,"lines":%s,"package_sha256":"%s"}' "$total" "$lines" "$hash" > "$HORUS_RESULT"
`;
}
