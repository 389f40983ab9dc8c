#!lua flags=allow-oom
-- Deletes terminal jobs that are too old or too many, leaving tombstones.
-- KEYS     done:<state>
-- ARGV     1 longest age in ms, 2 most jobs kept, 3 most jobs deleted by this call (at most 100)
-- returns  jobs deleted
-- keeps    records, logs and indexes are bounded; what was admitted can not be admitted again
-- atomic   as delete
local most = tonumber(ARGV[3])
local surplus = math.min(most, redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[2]))
local ids = redis.call('ZRANGE', KEYS[1], '-inf', int(NOW_MS - tonumber(ARGV[1])), 'BYSCORE', 'LIMIT', 0, most)
if surplus > #ids then
  ids = redis.call('ZRANGE', KEYS[1], 0, surplus - 1)
end
local old = {}
for _, id in ipairs(ids) do
  append(old, { id = id, job = read_job(id, true) })
end
for _, entry in ipairs(old) do
  if entry.job and entry.job.state ~= 'pending' and entry.job.state ~= 'running' then
    forget(entry.job)
  else
    redis.call('ZREM', KEYS[1], entry.id)
  end
end
return #old
