#!lua flags=allow-oom
-- Takes the best waiting jobs of all queues of a runner in this shard.
-- KEYS     leases, claim:<token>, expiry, bytes, then q:<queue>, delayed:<queue> for each queue; read beside them: names,
--          revoked (a runner's Redis user may not write those, and declared keys count as written)
-- ARGV     1 runner, 2 token, 3 most jobs (1..16), 4 lease in ms, then the queues in the order of their keys
-- returns  {'unregistered'} | {'claimed', skipped, {id, attempt, cancelling, queue, document, signatures, ticket}...};
--          skipped counts entries that were cleared away instead of taken (expired, stale): ask again when nothing came
-- keeps    the attempt number rises here and is never reset; a running job has a lease; the same token again gives
--          the same jobs while this claim still holds them
-- atomic   leaving the queue, the new attempt and its lease are one step: no job is ever in between
local runner, token, most, lease_ms = ARGV[1], ARGV[2], math.min(16, tonumber(ARGV[3])), tonumber(ARGV[4])
local queue_count = #ARGV - 4
-- Runners are others' programs: nan would fail once the jobs have left their queues, and leave them nowhere.
if not (lease_ms and lease_ms >= 1 and lease_ms % 1 == 0 and lease_ms < 1e12) then
  return redis.error_reply('ERR the lease is a whole number of ms')
end

local function answer(skipped, taken)
  local reply = { 'claimed', skipped }
  for _, job in ipairs(taken) do
    local text = redis.call('HMGET', job_key(job.id), 'document', 'signatures', 'ticket')
    append(reply, { job.id, tonumber(job.attempt), job.cancelling or '0', job.queue, text[1], text[2], text[3] })
  end
  return reply
end

touch({ KEYS[1], BASE .. 'names', BASE .. 'revoked' })
local entry = redis.call('HGET', BASE .. 'names', '@' .. runner)
local key = entry and string.match(entry, '^%d+|%d+|([^|]*)|.')
if not key or redis.call('SISMEMBER', BASE .. 'revoked', key) == 1 then
  return { 'unregistered' }
end
local served = ' ' .. string.match(entry, '|([^|]*)$') .. ' '
for index = 1, queue_count do
  if not string.find(served, ' ' .. ARGV[4 + index] .. ' ', 1, true) then
    return { 'unregistered' }
  end
end

local before = redis.call('GET', KEYS[2])
if before then
  local held = {}
  for id, attempt in string.gmatch(before, '(%S+) (%d+)') do
    local job = read_job(id)
    if job and is_held(job, attempt, token) then
      append(held, job)
    end
  end
  return answer(0, held)
end

-- Candidates of all queues by score. A delayed job that is due counts with the score it kept.
local window = math.max(2, math.floor(48 / queue_count))
local candidates, promoted, stale, truncated = {}, {}, {}, {}
for index = 1, queue_count do
  local q, delayed = KEYS[3 + index * 2], KEYS[4 + index * 2]
  local due = redis.call('ZRANGE', delayed, '-inf', int(NOW_MS), 'BYSCORE', 'LIMIT', 0, window)
  for _, id in ipairs(due) do
    local job = read_job(id)
    if job and job.state == 'pending' then
      append(candidates, { id = id, job = job, score = tonumber(job.score), index = index })
      promoted[id] = { job = job, q = q, delayed = delayed }
    else
      append(stale, { key = delayed, id = id })
    end
  end
  local heads = redis.call('ZRANGE', q, 0, window - 1, 'WITHSCORES')
  for at = 1, #heads, 2 do
    append(candidates, { id = heads[at], score = tonumber(heads[at + 1]), index = index })
  end
  -- Beyond the last score seen of a full window this queue may hold better jobs than the others.
  if #heads == window * 2 then
    truncated[index] = tonumber(heads[#heads])
  end
end
table.sort(candidates, function(a, b)
  return a.score < b.score
end)
local horizon = math.huge
for _, score in pairs(truncated) do
  horizon = math.min(horizon, score)
end

local taken, expired, withdrawn, seen = {}, {}, {}, {}
for _, candidate in ipairs(candidates) do
  if #taken >= most or candidate.score > horizon then
    break
  end
  local id = candidate.id
  if not seen[id] then
    seen[id] = true
    local job = candidate.job or read_job(id)
    if not job or job.state ~= 'pending' then
      append(stale, { key = KEYS[3 + candidate.index * 2], id = id })
    elseif is_expired(job) then
      append(expired, job)
    elseif has_revoked_signer(job) then
      append(withdrawn, job)
    else
      append(taken, job)
    end
    promoted[id] = nil
  end
end

for _, entry_of in ipairs(stale) do
  redis.call('ZREM', entry_of.key, entry_of.id)
end
for id, place in pairs(promoted) do
  redis.call('ZREM', place.delayed, id)
  redis.call('ZADD', place.q, place.job.score, id)
  redis.call('HDEL', job_key(id), 'ready_ms')
end
for _, job in ipairs(expired) do
  end_job(job, 'expired', { 'reason', 'expired' })
end
-- A retry, or a job whose revocation could not be carried out in full: no attempt starts for a revoked key.
for _, job in ipairs(withdrawn) do
  end_job(job, 'cancelled', { 'reason', 'revoked' })
end
local claim = {}
for _, job in ipairs(taken) do
  leave_pending(job)
  job.attempt = int(tonumber(job.attempt) + 1)
  redis.call('ZADD', KEYS[1], int(NOW_MS + lease_ms), job.id)
  redis.call('HDEL', job_key(job.id), 'ready_ms', 'reason', 'code')
  redis.call('HSET', job_key(job.id), 'state', 'running', 'attempt', job.attempt, 'token', token, 'runner', runner,
    'runner_key', key, 'started_ms', int(NOW_MS), 'revision', int(tonumber(job.revision) + 1), 'attempt_log_count', '0',
    'attempt_log_bytes', '0')
  append(claim, job.id .. ' ' .. job.attempt)
  publish_change(job.id)
end
if #claim > 0 then
  redis.call('SET', KEYS[2], table.concat(claim, '\n'), 'PX', int(lease_ms))
end
return answer(#stale + #expired + #withdrawn, taken)
