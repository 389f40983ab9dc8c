#!lua flags=allow-oom
-- Cuts leases and retry delays that a clock which was put back made longer than any is.
-- KEYS     leases or delayed:<queue>
-- ARGV     1 leases | delayed, 2 longest lease or delay in ms, 3 cursor of ZSCAN
-- returns  next cursor; call again until it is '0'
-- keeps    a lease lasts one lease from now at most; a job that waits for its own `not_before` goes on waiting
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
  elseif entry.job and tonumber(entry.job.attempt) > 0 then
    -- Only a job that has been started waits for a retry.
    redis.call('ZADD', KEYS[1], int(NOW_MS), entry.id)
    redis.call('HSET', job_key(entry.id), 'ready_ms', int(NOW_MS))
  end
end
return scanned[1]
