#!lua flags=allow-oom
-- Cuts leases and retry delays that a clock which was put back made longer than any is, and heartbeats from the future.
-- KEYS     leases, delayed:<queue> or live:<name>; read beside it: beat:<runner>
-- ARGV     1 leases | delayed | heartbeats, 2 longest lease or delay in ms, 3 cursor of ZSCAN
-- returns  next cursor; call again until it is '0'
-- keeps    a lease lasts one lease from now at most; a job that waits for its own `not_before` goes on waiting; a runner
--          from the future is heard of again by its next heartbeat, or not at all
-- atomic   a renewal or claim falls before or after
local latest = NOW_MS + tonumber(ARGV[2])
local scanned = redis.call('ZSCAN', KEYS[1], ARGV[3], 'COUNT', 100)
local late = {}
for at = 1, #scanned[2], 2 do
  if tonumber(scanned[2][at + 1]) > latest then
    append(late, { id = scanned[2][at], job = ARGV[1] == 'delayed' and read_job(scanned[2][at]) or nil })
  end
end
for _, entry in ipairs(late) do
  if ARGV[1] == 'leases' then
    redis.call('ZADD', KEYS[1], int(latest), entry.id)
  elseif ARGV[1] == 'heartbeats' then
    redis.call('ZREM', KEYS[1], entry.id)
    local beat = BASE .. 'beat:' .. entry.id
    if tonumber(redis.call('HGET', beat, 'heartbeat_ms') or '0') > NOW_MS then
      redis.call('HSET', beat, 'heartbeat_ms', int(NOW_MS))
    end
  elseif entry.job and tonumber(entry.job.attempt) > 0 then
    -- Only a job that has been started waits for a retry.
    redis.call('ZADD', KEYS[1], int(NOW_MS), entry.id)
    redis.call('HSET', job_key(entry.id), 'ready_ms', int(NOW_MS))
  end
end
return scanned[1]
