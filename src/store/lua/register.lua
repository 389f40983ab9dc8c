#!lua flags=allow-oom
-- Enrols a runner in the registry (shard 0).
-- KEYS     runners, groups, revoked
-- ARGV     1 name, 2 key, 3 fingerprint of what counts (groups, executors, slots), 4 registration, 5 the signed call,
--          6 iat, 7 exp, then its groups
-- returns  {'new' | 'same' | 'replaced', version} | {'conflict'} | {'revoked'} | {'stale', now}
-- keeps    runner names and group names are one namespace; a name belongs to one key; `groups` counts the members
-- atomic   of two registrars that want one name, one is first
local name, key = ARGV[1], ARGV[2]
if redis.call('SISMEMBER', KEYS[3], key) == 1 then
  return { 'revoked' }
end
if tonumber(ARGV[6]) > NOW + 30 or NOW > tonumber(ARGV[7]) + 30 then
  return { 'stale', NOW }
end
if redis.call('HEXISTS', KEYS[2], name) == 1 or redis.call('HEXISTS', KEYS[2], '@' .. name) == 1 then
  return { 'conflict' }
end
for index = 8, #ARGV do
  if ARGV[index] == name or redis.call('HEXISTS', KEYS[1], ARGV[index]) == 1 then
    return { 'conflict' }
  end
end
local old = read_runner(name)
if old and old.key ~= key then
  return { 'conflict' }
end
if old and old.fingerprint == ARGV[3] and not old.removing_ms then
  return { 'same', old.version }
end
if old then
  for group in string.gmatch(old.groups, '%S+') do
    count_group(old.removing_ms and '@' .. group or group, -1)
  end
end
local groups = {}
for index = 8, #ARGV do
  append(groups, ARGV[index])
  count_group(ARGV[index], 1)
end
local version = redis.call('HINCRBY', KEYS[1], '@version', 1)
redis.call('HSET', KEYS[1], name, cjson.encode({
  key = key, fingerprint = ARGV[3], registration = ARGV[4], enrolled_by = ARGV[5], groups = table.concat(groups, ' '),
  registered_ms = old and old.registered_ms or NOW_MS, version = version,
}))
return { old and 'replaced' or 'new', version }
