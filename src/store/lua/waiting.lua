#!lua flags=no-writes
-- What waits in some queues of one shard.
-- KEYS     q:<queue>, delayed:<queue> for each queue (at most 50)
-- ARGV     none
-- returns  now in ms, then for each queue {jobs waiting, admission ms of the oldest that could start or ''}
-- keeps    nothing is written
-- atomic   count and oldest agree
local reply = { int(NOW_MS) }
for index = 1, #KEYS, 2 do
  local oldest = nil
  -- Within a priority the first is the oldest, and in a fair queue one of the first; there are ten priorities.
  for priority = 0, 9 do
    local from, to = int(priority * 281474976710656), '(' .. int((priority + 1) * 281474976710656)
    for _, id in ipairs(redis.call('ZRANGE', KEYS[index], from, to, 'BYSCORE', 'LIMIT', 0, 8)) do
      local admitted = tonumber(redis.call('HGET', job_key(id), 'admitted_ms') or nil)
      if admitted and (not oldest or admitted < oldest) then
        oldest = admitted
      end
    end
  end
  local count = redis.call('ZCARD', KEYS[index]) + redis.call('ZCARD', KEYS[index + 1])
  append(reply, { count, oldest and int(oldest) or '' })
end
return reply
