#!lua flags=allow-oom
-- Prolongs leases of one shard.
-- KEYS     leases, then job:<id> for each lease (at most 100)
-- ARGV     1 lease in ms, then id, attempt, token for each lease
-- returns  for each lease 'renewed' | 'cancelling' (renewed, and the job is to be stopped) | 'lost'
-- keeps    only the attempt that holds the lease can prolong it; a lost lease never comes back
-- atomic   a reaper can not run between the check and the new deadline
local lease_ms = tonumber(ARGV[1])
-- Runners are others' programs: a lease without end would never be lost, whatever became of its runner.
if not (lease_ms and lease_ms >= 1 and lease_ms % 1 == 0 and lease_ms < 1e12) then
  return redis.error_reply('ERR the lease is a whole number of ms')
end
local deadline = int(NOW_MS + lease_ms)
local answers, renewed = {}, {}
for index = 2, #KEYS do
  local at = (index - 2) * 3 + 2
  local held = redis.call('HMGET', KEYS[index], 'state', 'attempt', 'token', 'cancelling', 'runner_key')
  if held[1] == 'running' and held[2] == ARGV[at + 1] and held[3] == ARGV[at + 2] and not is_revoked(held[5]) then
    append(renewed, ARGV[at])
    append(answers, held[4] == '1' and 'cancelling' or 'renewed')
  else
    append(answers, 'lost')
  end
end
for _, id in ipairs(renewed) do
  redis.call('ZADD', KEYS[1], deadline, id)
end
return answers
