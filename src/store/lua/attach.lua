#!lua flags=allow-oom
-- A runner's process takes its name.
-- KEYS     beat:<name>, live:<name>, live:<group>...; read beside them: runners, revoked
-- ARGV     1 name, 2 key, 3 process (random, one for each process), 4 version, 5 lease in ms, then its groups, sorted
-- returns  {'attached'} | {'not_registered'} | {'mismatch', reason} | {'taken', age of the other's heartbeat in ms}
-- keeps    one live process a name
-- atomic   of two processes that start at once, one is first
local name, process = ARGV[1], ARGV[3]
touch({ KEYS[1], BASE .. 'runners', BASE .. 'revoked' })
local runner = read_runner(name)
if not runner or runner.removing_ms or redis.call('SISMEMBER', BASE .. 'revoked', runner.key) == 1 then
  return { 'not_registered' }
end
if runner.key ~= ARGV[2] then
  return { 'mismatch', 'registered with another key' }
end
local groups = {}
for index = 6, #ARGV do
  append(groups, ARGV[index])
end
if table.concat(groups, ' ') ~= runner.groups then
  return { 'mismatch', 'registered with the groups "' .. runner.groups .. '"' }
end
local beat = redis.call('HMGET', KEYS[1], 'process', 'heartbeat_ms', 'detached')
if beat[1] and beat[1] ~= process and beat[3] ~= '1' then
  local age = NOW_MS - tonumber(beat[2])
  if age < 0 then
    -- From before the clock was put back. It counts as one of now, and from now on: else the name of a process that is
    -- gone would stay taken for as long as the clock was put back.
    redis.call('HSET', KEYS[1], 'heartbeat_ms', int(NOW_MS))
    age = 0
  end
  if age < tonumber(ARGV[5]) then
    return { 'taken', age }
  end
end
redis.call('HSET', KEYS[1], 'process', process, 'heartbeat_ms', int(NOW_MS), 'version', ARGV[4], 'running', '0')
redis.call('HDEL', KEYS[1], 'draining', 'detached')
for index = 2, #KEYS do
  redis.call('ZADD', KEYS[index], int(NOW_MS), name)
end
return { 'attached' }
