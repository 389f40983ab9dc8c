#!lua flags=allow-oom
-- Accepts the outcome of the attempt that holds the lease.
-- KEYS     job:<id>, leases
-- ARGV     1 id, 2 attempt, 3 token, 4 status (completed | failed | timeout | cancelled), 5 code, 6 reason or '',
--          7 '1' when it may be retried, 8 backoff base ms, 9 backoff most ms, 10 random in [0, 1),
--          11 result or '', 12 receipt or ''
-- returns  {'accepted', state the job is in now} | {'lost'}
-- keeps    one outcome for each job, from the holder of the lease; a terminal state never changes; a retry keeps its
--          place in the order after its delay; a cancelled job is never retried, but a finish that came first stands
-- atomic   the fence is checked and the outcome stored in one step; the same call again gives the same answer
local id, attempt, token, status = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if not ({ completed = 1, failed = 1, timeout = 1, cancelled = 1 })[status] then
  return redis.error_reply('ERR status is completed, failed, timeout or cancelled')
end
-- Runners are others' programs: what is no number would be stored, or fail half-way and leave the job nowhere. Every
-- comparison with nan is false.
local code, base_ms, most_ms, random = tonumber(ARGV[5]), tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
if not (code and code % 1 == 0 and math.abs(code) <= 2147483647) then
  return redis.error_reply('ERR code is a whole number of at most 32 bits')
end
if not (base_ms and base_ms >= 0 and most_ms and most_ms >= 0 and most_ms < 1e12 and random and random >= 0 and random <= 1) then
  return redis.error_reply('ERR backoff base and most are ms from 0 on, random is from 0 to 1')
end
local job = read_job(id)
if not job then
  return { 'lost' }
end
local mark = attempt .. ' ' .. token .. ' finish'
if not is_held(job, attempt, token) then
  return job.settled == mark and { 'accepted', job.state } or { 'lost' }
end

local has_failed = status == 'failed' or status == 'timeout'
local failures = tonumber(job.failures) + (has_failed and 1 or 0)
local retry_ms = nil
if has_failed and ARGV[7] == '1' and not job.cancelling and failures < tonumber(job.max_attempts) then
  local delay = math.min(most_ms, base_ms * 2 ^ (failures - 1))
  -- Half to whole of it, so that jobs which failed together do not come back together.
  retry_ms = NOW_MS + math.floor(delay * (0.5 + random / 2))
end
job.outcome_bytes = int(#ARGV[11] + #ARGV[12])
local fields = { 'settled', mark, 'code', int(code), 'failures', int(failures), 'outcome_bytes', job.outcome_bytes }
-- Stands in every list: of a long one the beginning, without the character that the cut goes through.
local reason = ARGV[6]
if #reason > 1024 then
  reason = string.gsub(string.sub(reason, 1, 1024), '[\192-\255][\128-\191]*$', '')
end
if reason == '' and status == 'cancelled' then
  reason = job.cancel_reason or ''
end
local gone = {}
for name, value in pairs({ reason = reason, result = ARGV[11], receipt = ARGV[12] }) do
  if value == '' then
    append(gone, name)
  else
    append(fields, name, value)
  end
end
if #gone > 0 then
  redis.call('HDEL', KEYS[1], unpack(gone))
end

if retry_ms then
  return_to_pending(job, retry_ms, fields)
  return { 'accepted', 'pending' }
end
end_job(job, status, fields)
return { 'accepted', status }
