#!lua flags=allow-oom
-- Forgets the versions that removed runners left in one shard.
-- KEYS     names
-- ARGV     1 age in ms, 2 cursor of HSCAN
-- returns  {next cursor, entries forgotten}
-- keeps    runners that serve a name are never touched
-- atomic   a registration falls before or after
local entries = redis.call('HSCAN', KEYS[1], ARGV[2], 'MATCH', '@*', 'COUNT', 100)
local old = {}
for at = 1, #entries[2], 2 do
  local ms, names = string.match(entries[2][at + 1], '^%d+|(%d+)|[^|]*|(.*)$')
  if names == '' and tonumber(ms) < NOW_MS - tonumber(ARGV[1]) then
    append(old, entries[2][at])
  end
end
for _, field in ipairs(old) do
  redis.call('HDEL', KEYS[1], field)
end
return { entries[1], #old }
