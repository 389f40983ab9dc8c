#!lua flags=allow-oom
-- Deletes terminal jobs that are too old, too many or too large together, the oldest first, leaving tombstones.
-- KEYS     done:<state>, bytes
-- ARGV     1 state, 2 longest age in ms, 3 most jobs kept, 4 most bytes kept, 5 most jobs deleted by this call (at most 100)
-- returns  jobs deleted
-- keeps    records, logs and indexes are bounded; what was admitted can not be admitted again; the newest job is not
--          deleted for its size alone: who waits for it is still to read it
-- atomic   as delete
local field, most = '!' .. ARGV[1], tonumber(ARGV[5])
local total = redis.call('ZCARD', KEYS[1])
local surplus = total - tonumber(ARGV[3])
local excess = tonumber(redis.call('HGET', KEYS[2], field) or '0') - tonumber(ARGV[4])
local aged = redis.call('ZRANGE', KEYS[1], '-inf', int(NOW_MS - tonumber(ARGV[2])), 'BYSCORE', 'LIMIT', 0, most)
local due = math.min(most, math.max(#aged, surplus))
local ids = {}
if due > 0 or excess > 0 then
  ids = redis.call('ZRANGE', KEYS[1], 0, (excess > 0 and most or due) - 1)
end

local old = {}
for index, id in ipairs(ids) do
  if index > due and (excess <= 0 or index == total) then
    break
  end
  local job = read_job(id, true)
  append(old, { id = id, job = job })
  excess = excess - tonumber(job and job.kept_bytes or '0')
end
for _, entry in ipairs(old) do
  if entry.job and entry.job.state ~= 'pending' and entry.job.state ~= 'running' then
    forget(entry.job)
  else
    redis.call('ZREM', KEYS[1], entry.id)
  end
end
-- Nothing is left: a count that went wrong (a record lost with a part of the data) does not stay wrong.
if #old == total then
  redis.call('HDEL', KEYS[2], field)
  for _, entry in ipairs(END_REASONS[ARGV[1]] or {}) do
    redis.call('HDEL', KEYS[2], '~' .. ARGV[1] .. ':' .. entry[2])
  end
end
return #old
