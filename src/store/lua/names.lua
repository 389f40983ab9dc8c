#!lua flags=allow-oom
-- Copies the names one runner serves to one shard, where admissions and claims read them.
-- KEYS     names
-- ARGV     1 runner, 2 version of the registry, 3 its key, then its name and groups; none when it was removed
-- returns  '1' when applied, '0' when this shard knows a newer version
-- keeps    `names` counts for each name the runners that serve it; '@<runner>' is '<version>|<ms>|<key>|<names>'
-- atomic   counts and entry agree; an older copy that arrives late changes nothing
local runner, version = ARGV[1], tonumber(ARGV[2])
local entry = redis.call('HGET', KEYS[1], '@' .. runner)
if entry and tonumber(string.match(entry, '^%d+')) >= version then
  return '0'
end
if entry then
  for name in string.gmatch(string.match(entry, '|([^|]*)$'), '%S+') do
    if redis.call('HINCRBY', KEYS[1], name, -1) <= 0 then
      redis.call('HDEL', KEYS[1], name)
    end
  end
end
local names = {}
for index = 4, #ARGV do
  append(names, ARGV[index])
  redis.call('HINCRBY', KEYS[1], ARGV[index], 1)
end
-- A removed runner leaves its version behind, against late copies; sweep-names takes it away.
local parts = { ARGV[2], int(NOW_MS), ARGV[3], table.concat(names, ' ') }
redis.call('HSET', KEYS[1], '@' .. runner, table.concat(parts, '|'))
return '1'
