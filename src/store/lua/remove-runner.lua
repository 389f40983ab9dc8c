#!lua flags=allow-oom
-- The steps of removing a runner from the registry (shard 0).
-- KEYS     runners, groups, beat:<name>
-- ARGV     1 step, 2 name, 3 version that `begin` answered ('' for begin)
-- returns  begin: {'missing'} | {'begun', version, key, queues only this runner serves, groups}
--          abort, commit: {'done', version} | {'missing'} when another call changed the entry meanwhile
-- keeps    a runner that is being removed counts for no group, so that two removals at once never leave a group's
--          queue to nobody; abort puts everything back, since nobody got their names meanwhile
-- atomic   each step sees the registry as the step before left it, or answers missing
local step, name = ARGV[1], ARGV[2]
local runner = read_runner(name)
if not runner or (step ~= 'begin' and int(runner.version) ~= ARGV[3]) then
  return { 'missing' }
end
local live = { BASE .. 'live:' .. name }
for group in string.gmatch(runner.groups, '%S+') do
  append(live, BASE .. 'live:' .. group)
end
touch(live)

if step == 'commit' then
  for group in string.gmatch(runner.groups, '%S+') do
    count_group('@' .. group, -1)
  end
  redis.call('HDEL', KEYS[1], name)
  redis.call('DEL', KEYS[3])
  for _, key in ipairs(live) do
    redis.call('ZREM', key, name)
  end
  return { 'done', runner.version }
end

if (step == 'begin') == (runner.removing_ms == nil) then
  count_removal(runner.groups, step == 'begin')
end
runner.removing_ms = step == 'begin' and NOW_MS or nil
runner.version = redis.call('HINCRBY', KEYS[1], '@version', 1)
redis.call('HSET', KEYS[1], name, cjson.encode(runner))
if step == 'abort' then
  return { 'done', runner.version }
end
local only = { name }
for group in string.gmatch(runner.groups, '%S+') do
  if redis.call('HEXISTS', KEYS[2], group) == 0 then
    append(only, group)
  end
end
return { 'begun', runner.version, runner.key, table.concat(only, ' '), runner.groups }
