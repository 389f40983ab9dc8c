#!lua flags=allow-oom
-- Ends pending jobs that may no longer start.
-- KEYS     expiry
-- ARGV     1 most jobs (at most 100)
-- returns  jobs taken off the index
-- keeps    no attempt starts after `expires_at`
-- atomic   a claim falls before or after
local due = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', int(NOW_MS - 1000), 'BYSCORE', 'LIMIT', 0, tonumber(ARGV[1]))) do
  append(due, { id = id, job = read_job(id) })
end
for _, entry in ipairs(due) do
  if entry.job and entry.job.state == 'pending' then
    end_job(entry.job, 'expired', { 'reason', 'expired' })
  else
    redis.call('ZREM', KEYS[1], entry.id)
  end
end
return #due
