#!lua flags=allow-oom
-- Takes lost leases away: back to the queue, or to an end.
-- KEYS     leases, reap
-- ARGV     1 most leases (at most 100), 2 lease in ms, 3 what this clock should say (ms, by the caller's monotonic
--          clock) or '', 4 tolerance in ms, 5 '1' when the caller could not reach Redis for long, 6 ms since it last looked
-- returns  {now in ms, leases reaped, '1' when the clock was put back: call `settle`}
-- keeps    a lease is lost when it was reaped, not before; three runners lost end a job as `poison`; after a restart,
--          a jump of the clock or an outage nothing is reaped for one lease, at most once for each; what was over by a
--          clock that was put back is not admitted again
-- atomic   reaping decides and moves in one step, so a renewal falls before or after
local most, lease_ms = tonumber(ARGV[1]), tonumber(ARGV[2])
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local hold = redis.call('HMGET', KEYS[2], 'run_id', 'not_before')
local not_before = tonumber(hold[2] or '0')
local expected, tolerance = tonumber(ARGV[3]) or NOW_MS, tonumber(ARGV[4])
local went_back = NOW_MS < expected - tolerance and '1' or '0'
local has_jumped = math.abs(NOW_MS - expected) > tolerance

-- What expired by a clock that was put back left no trace to be refused by: see was_over. Steps that are smaller than what
-- traces are kept beyond their use matter to nothing.
if expected - NOW_MS > 30000 then
  local from, age_s = math.ceil(expected / 1000), tonumber(ARGV[6]) / 1000
  local times, is_noted = { int(NOW) .. ':' .. int(from) }, false
  for at, other in string.gmatch(redis.call('HGET', KEYS[2], 'put_back') or '', '(%d+):(%d+)') do
    local since = NOW - tonumber(at)
    -- Another supervisor saw it, after this one had last looked.
    is_noted = is_noted or (since < age_s and from <= tonumber(other) + since + 30)
    -- What had ended by then has ended by now in any case.
    if tonumber(other) >= NOW and #times < 8 then
      append(times, at .. ':' .. other)
    end
  end
  if not is_noted then
    redis.call('HSET', KEYS[2], 'put_back', table.concat(times, ' '))
  end
end

-- A hold from before a clock that was put back would last for as long as the clock was put back.
if not_before > NOW_MS + lease_ms then
  not_before = NOW_MS + lease_ms
  redis.call('HSET', KEYS[2], 'not_before', int(not_before))
end
if hold[1] ~= run_id then
  not_before = NOW_MS + lease_ms
  redis.call('HSET', KEYS[2], 'run_id', run_id, 'not_before', int(not_before))
elseif (has_jumped or ARGV[5] == '1') and not_before <= NOW_MS then
  -- Already on hold: another supervisor saw the same jump or outage.
  not_before = NOW_MS + lease_ms
  redis.call('HSET', KEYS[2], 'not_before', int(not_before))
end

-- No setting makes leases longer than ten minutes: this one stems from before a clock was put back, unseen.
local longest = math.max(lease_ms, 600000)
local too_long = redis.call('ZRANGE', KEYS[1], '(' .. int(NOW_MS + longest), '+inf', 'BYSCORE', 'LIMIT', 0, most)
for _, id in ipairs(too_long) do
  redis.call('ZADD', KEYS[1], int(NOW_MS + lease_ms), id)
end
if not_before > NOW_MS then
  return { NOW_MS, 0, went_back }
end

local lost = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', int(NOW_MS), 'BYSCORE', 'LIMIT', 0, most)) do
  append(lost, { id = id, job = read_job(id) })
end
for _, lease in ipairs(lost) do
  local job = lease.job
  if not job or job.state ~= 'running' then
    redis.call('ZREM', KEYS[1], lease.id)
  else
    local losses = tonumber(job.losses) + 1
    local fields = { 'losses', int(losses) }
    if job.cancelling then
      end_job(job, 'cancelled', append(fields, 'reason', job.cancel_reason or 'cancelled'))
    elseif job.on_loss == 'fail' then
      end_job(job, 'failed', append(fields, 'reason', 'lost'))
    elseif losses >= 3 then
      end_job(job, 'failed', append(fields, 'reason', 'poison'))
    else
      return_to_pending(job, nil, append(fields, 'reason', 'lost'))
    end
  end
end
return { NOW_MS, #lost, went_back }
