#!lua flags=allow-oom
-- Evidence of a runner's life.
-- KEYS     beat:<name>, live:<name>, live:<group>...; read beside them: runners, revoked
-- ARGV     1 name, 2 process, 3 live | draining | detached, 4 jobs running, 5 version,
--          6 ms since the last claim or '', 7 ms since the last finish or '', then its groups, sorted
-- returns  'ok' | 'removed' (registration gone, changed or key revoked, or another process took the name)
-- keeps    `live:<name>` holds the runners that take jobs of that name, by their last heartbeat
-- atomic   a process that lost the name can not refresh it
local name, process, mode = ARGV[1], ARGV[2], ARGV[3]
touch({ KEYS[1], BASE .. 'runners', BASE .. 'revoked' })
-- One that is being removed is still there: the removal may be refused because jobs wait.
local runner = read_runner(name)
local owner = redis.call('HGET', KEYS[1], 'process')
if not runner or (owner and owner ~= process) or redis.call('SISMEMBER', BASE .. 'revoked', runner.key) == 1 then
  return 'removed'
end
local groups = {}
for index = 8, #ARGV do
  append(groups, ARGV[index])
end
-- Registered anew with other groups: it could claim nothing any more, and must not look alive.
if mode ~= 'detached' and table.concat(groups, ' ') ~= runner.groups then
  return 'removed'
end
local fields = { 'process', process, 'heartbeat_ms', int(NOW_MS), 'running', ARGV[4], 'version', ARGV[5] }
append(fields, 'draining', mode == 'draining' and '1' or '0', 'detached', mode == 'detached' and '1' or '0')
if ARGV[6] ~= '' then
  append(fields, 'claimed_ms', int(NOW_MS - tonumber(ARGV[6])))
end
if ARGV[7] ~= '' then
  append(fields, 'finished_ms', int(NOW_MS - tonumber(ARGV[7])))
end
redis.call('HSET', KEYS[1], unpack(fields))
for index = 2, #KEYS do
  if mode == 'live' then
    redis.call('ZADD', KEYS[index], int(NOW_MS), name)
  else
    redis.call('ZREM', KEYS[index], name)
  end
end
return 'ok'
