#!lua flags=allow-oom
-- Cancels jobs that wait in one queue of one shard.
-- KEYS     q:<queue>, delayed:<queue>
-- ARGV     1 reason, 2 most jobs (at most 100)
-- returns  {entries taken, jobs cancelled}; call again until nothing was taken
-- keeps    running jobs are not touched
-- atomic   a claim falls before or after
local most = tonumber(ARGV[2])
local found = {}
for _, key in ipairs(KEYS) do
  for _, id in ipairs(redis.call('ZRANGE', key, 0, most - #found - 1)) do
    append(found, { key = key, id = id, job = read_job(id) })
  end
  if #found >= most then
    break
  end
end
local cancelled = 0
for _, entry in ipairs(found) do
  if entry.job and entry.job.state == 'pending' then
    end_job(entry.job, 'cancelled', { 'reason', ARGV[1] })
    cancelled = cancelled + 1
  else
    redis.call('ZREM', entry.key, entry.id)
  end
end
return { #found, cancelled }
